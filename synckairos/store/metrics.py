"""Prometheus metrics of Redis: duration of calls, failed calls, and the memory of the server."""

import re
from collections import Counter
from typing import Final

from redis.exceptions import RedisError

from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry.metric_types import ONLY_SERVERS, MetricDefiner

_redis = MetricDefiner("Redis and Postgres", ONLY_SERVERS)

MEMORY_BYTES = _redis.gauge(
    "synckairos_redis_memory_bytes",
    "Memory that Redis uses for data (`used_memory`), of all primaries; 0 if the user of Redis may not use INFO",
    scope="store",
)
MEMORY_LIMIT_BYTES = _redis.gauge(
    "synckairos_redis_memory_limit_bytes",
    "Limit of the memory of Redis (`maxmemory`), of all primaries; 0 if there is none, or if the user of Redis may not "
    "use INFO",
    scope="store",
)

_FIELDS: Final = {b"used_memory": MEMORY_BYTES, b"maxmemory": MEMORY_LIMIT_BYTES}
_FIELD = re.compile(rb"^(used_memory|maxmemory):(\d+)", re.MULTILINE)


class RedisGauges:
    """Sets the metrics of the memory of Redis. `/metrics` calls `refresh` before each answer."""

    def __init__(self, pipe: RedisPipe) -> None:
        self._pipe = pipe

    async def refresh(self) -> None:
        """Update the metrics. If Redis does not answer, or does not permit INFO, keep the old values."""
        try:
            replies: list[bytes] = await self._pipe.call_on_each_primary("INFO", "memory")
        except RedisError:
            return
        sums: Counter[bytes] = Counter()
        for reply in replies:
            sums.update({name: int(value) for name, value in _FIELD.findall(reply)})
        for name, total in sums.items():
            _FIELDS[name].set(total)
