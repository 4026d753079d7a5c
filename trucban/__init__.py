"""The front door: command line, settings, supervision."""
