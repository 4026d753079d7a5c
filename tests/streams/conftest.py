"""Brokers for the tests of this folder."""

from tests.support.kafka import apache_broker, broker, embedded_broker

__all__ = ["apache_broker", "broker", "embedded_broker"]
