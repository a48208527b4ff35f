"""State server for timed, shared sessions."""

__version__ = "3.0.0"
