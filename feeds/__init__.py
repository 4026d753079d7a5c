"""The ways events come in."""
