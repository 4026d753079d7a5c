"""Kafka: the Faust app, the micro-batch transport, the embedded broker."""
