"""Closing of all connections of an instance that shuts down, spread over time to spread the reconnects of clients."""

import asyncio
import random
from collections.abc import Collection, Iterable
from typing import Any

from synckairos.realtime.watcher_interface import Watcher

DRAIN_BATCH = 100
"""Number of connections that a draining instance closes together."""

DRAIN_A_SECOND = 2_500
"""Connections per second that a draining instance closes. The limit protects the other instances from reconnects."""


async def close_in_batches(
    connections: Iterable[Watcher], requests: Collection[asyncio.Task[Any]], within_s: float
) -> None:
    """Announce the shutdown to connections, wait for running requests of clients, and close the connections.

    The wait takes at most half of `within_s` seconds. The connections are then closed in random order, spread over at
    most half of `within_s` seconds. Return without waiting for the answers to the close frames.
    """
    leaving = list(connections)
    random.shuffle(leaving)
    spread_s = min(within_s / 2, len(leaving) / DRAIN_A_SECOND)
    for connection in leaving:
        connection.announce_shutdown(spread_s)
    if requests:
        await asyncio.wait(tuple(requests), timeout=within_s / 2)
    for at in range(0, len(leaving), DRAIN_BATCH):
        if at:
            await asyncio.sleep(spread_s * DRAIN_BATCH / len(leaving))
        for connection in leaving[at : at + DRAIN_BATCH]:
            connection.close_for_shutdown()
