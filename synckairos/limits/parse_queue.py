"""Parsing of large inputs, one input at a time. The largest inputs are parsed in a thread, not on the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from synckairos.limits.fair_queue import FairQueue
from synckairos.limits.running_request import run_in_thread
from synckairos.principal import tenant_of_client

THREAD_VALUES = 1_000
"""Number of values in a JSON text above which the text is parsed in a thread.

This number of values takes about 1 ms.
"""

T = TypeVar("T")


class ParseQueue:
    """Parses the large inputs of all clients of this instance, one input at a time. Tenants and clients take turns.

    The event loop runs at least one turn between two inputs. Several threads would not parse faster, because the
    interpreter runs one of them at a time.
    """

    def __init__(self) -> None:
        self._turns = FairQueue()

    async def run(self, client: str, values: int, parse: Callable[[], T]) -> T:
        """Wait for a turn of this client, then call `parse` and return its result.

        `values` is the approximate number of JSON values that `parse` parses. Above `THREAD_VALUES`, `parse` runs in a
        thread.
        """
        async with self._turns.turn(client, tenant_of_client(client) or ""):
            if values > THREAD_VALUES:
                return await run_in_thread(parse)
            # The turn is kept for a turn of the event loop. So the next input is parsed in a later turn of the loop.
            await asyncio.sleep(0)
            return parse()
