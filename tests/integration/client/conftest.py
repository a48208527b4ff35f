"""The instances of the realtime tests, for a client of our own."""

from tests.integration.realtime.conftest import instance, other_instance

__all__ = ["instance", "other_instance"]
