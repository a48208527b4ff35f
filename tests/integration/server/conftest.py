"""The instance fixture, for tests of the server's protocols."""

from tests.integration.realtime.conftest import instance as instance
