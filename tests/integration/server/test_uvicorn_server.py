"""An event loop that stands still is seen in the metrics."""

import time

from prometheus_client import REGISTRY

from synckairos.server.uvicorn_server import LOOK_AT_LOOP_S
from tests.integration.realtime.instances import Instance
from tests.waiting import eventually

STALL_S = 0.2


def lag_s() -> float:
    return REGISTRY.get_sample_value("synckairos_event_loop_lag_seconds_sum") or 0.0


async def test_a_stall_is_counted_by_its_length(instance: Instance) -> None:
    before_s = lag_s()
    time.sleep(STALL_S)  # noqa: ASYNC251 - it is what is looked for

    async def is_seen() -> bool:
        return lag_s() - before_s >= STALL_S - LOOK_AT_LOOP_S - 0.001

    await eventually(is_seen)
