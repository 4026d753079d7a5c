"""The outbox sender and its channels."""
