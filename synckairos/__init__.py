"""State server for timed sessions that several participants share."""

__version__ = "3.0.0"
