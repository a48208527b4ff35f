"""The client's measurement of the server's time, through a network with a different delay in each direction."""

import time

import pytest

from synckairos_client import Client
from tests.integration.client.proxy import proxy_to
from tests.integration.realtime.instances import Instance

SAMPLES = 12


def true_offset_ms() -> float:
    """Return the true offset of the Redis clock. Redis runs on this machine, so its clock is known."""
    return (time.time() - time.monotonic()) * 1000


@pytest.mark.parametrize(("up_ms", "down_ms"), [(300, 0), (0, 300), (300, 300), (0, 0)])
async def test_maximum_error_is_not_less_than_the_true_error(instance: Instance, up_ms: int, down_ms: int) -> None:
    async with proxy_to(instance.ws_url, seed=up_ms + 2 * down_ms) as proxy:
        proxy.up_ms, proxy.down_ms = up_ms, down_ms
        async with Client(proxy.url) as client:
            for _ in range(SAMPLES):
                sample = await client.measure()
                assert abs(sample.offset_ms - true_offset_ms()) <= sample.error_ms
                assert abs(client.now_ms() - time.time() * 1000) <= client.error_ms
            assert client.error_ms <= max(25.0, (up_ms + down_ms) / 2)
