"""Event loop lag: a blocked event loop appears in the metrics."""

import time

from prometheus_client import REGISTRY

from synckairos.server.uvicorn_server import LOOP_CHECK_S
from tests.integration.realtime.instances import Instance
from tests.waiting import eventually

STALL_S = 0.2


def lag_s() -> float:
    return REGISTRY.get_sample_value("synckairos_event_loop_lag_seconds_sum") or 0.0


async def test_blocked_event_loop_adds_its_duration_to_the_lag_metric(instance: Instance) -> None:
    before_s = lag_s()
    time.sleep(STALL_S)  # noqa: ASYNC251 - the block is the test's input

    async def is_measured() -> bool:
        return lag_s() - before_s >= STALL_S - LOOP_CHECK_S - 0.001

    await eventually(is_measured)
