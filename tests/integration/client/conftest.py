"""The instances of the realtime tests, for the tests of the Python client."""

from tests.integration.realtime.conftest import instance, other_instance

__all__ = ["instance", "other_instance"]
