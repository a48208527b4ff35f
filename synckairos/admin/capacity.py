"""Capacity calculator: instances, memory of Redis, disk and writes of Postgres for an expected load.

The constants are measured with `python -m loadtests capacity`, see docs/capacity.md. Processor times are of the machine
on which they were measured.
"""

from math import ceil

from msgspec import Struct

DAY_S = 86_400
PAGE_BYTES = 8_192
"""Bytes of a page of Postgres, which is also the size of one write in `postgres_iops`."""

# -- measured bytes ---------------------------------------------------------------------------------------------------

SESSION_REDIS_BYTES = 1_160
"""Bytes of Redis for a running session without its participants and its version history."""

PARTICIPANT_REDIS_BYTES = 372
"""Bytes of Redis for each participant of a session: its part of the document, and the index of participants."""

VERSION_REDIS_BYTES = 230
"""Bytes of Redis for a version in the version history, if its message is packed."""

LARGE_VERSION_REDIS_BYTES = 2_100
"""Bytes of Redis for a version in the version history of a session with `LARGE_PARTICIPANTS` or more."""

LARGE_PARTICIPANTS = 32
"""Number of participants from which versions travel as splices."""

STORED_VERSIONS = 34
"""Mean number of versions in a full version history: 32, and up to an eighth more."""

RECORD_REDIS_BYTES = 175
"""Bytes of Redis for the idempotency record of a command id."""

MAX_RECORDS = 750
"""Mean number of idempotency records of a session that has reached the maximum. Then half of the 1,000 are removed."""

ENTRY_REDIS_BYTES = 600
"""Bytes of Redis for an outbox entry, without its document or splices."""

DOCUMENT_BYTES = 740
"""Bytes of a document without participants."""

PARTICIPANT_DOCUMENT_BYTES = 260
"""Bytes of a participant in a document."""

SESSION_POSTGRES_BYTES = 4_400
"""Bytes of Postgres for the creation and the start of a session without participants, with indexes."""

PARTICIPANT_POSTGRES_BYTES = 375
"""Bytes of Postgres for each participant of a session, with indexes."""

VERSION_POSTGRES_BYTES = 1_080
"""Bytes of Postgres for a version without its document or splices, with indexes and charges."""

LARGE_CHANGE_POSTGRES_BYTES = 1_450
"""Bytes of Postgres for the splices of a version of a large session, and its part of the whole documents."""

COMPRESSED_FROM_BYTES = 2_000
"""Bytes of a document from which Postgres compresses it."""

COMPRESSION = 0.3
"""Bytes of a compressed document divided by its bytes."""

WAL_FACTOR = 1.25
"""Bytes of the WAL of Postgres for each byte of the tables, without the page images after a checkpoint."""

SOCKET_BYTES = 8_192
"""Bytes of an instance for a socket, at most."""

# -- measured processor times -----------------------------------------------------------------------------------------

SWITCH_INSTANCE_US = 190.0
"""µs of an instance for a switch."""

UPDATE_INSTANCE_US = 60.0
"""µs of an instance for a version of a session that it watches, without the deliveries."""

DELIVERY_INSTANCE_US = 9.0
"""µs of an instance for the delivery of a version to a socket."""

SWITCH_REDIS_US = 75.0
"""µs of the main thread of Redis for a switch."""

SWITCH_WORKER_US = 50.0
"""µs of a worker for a switch."""

SWITCH_POSTGRES_US = 45.0
"""µs of Postgres for a switch."""

PARTICIPANT_US = (0.4, 0.5, 0.85, 0.1)
"""µs that each participant beyond two adds to a switch: in an instance, in Redis, in a worker and in Postgres."""

# -- choices ----------------------------------------------------------------------------------------------------------

CORE_SHARE = 0.5
"""Share of a core that an instance, a worker or Redis may use on average. The rest is for peaks and failures."""

REDIS_MEMORY_SHARE = 0.6
"""Share of the memory of Redis that data may use. The rest is for rewrites of the append-only file and replicas."""

DRAINS_PER_S = 5.0
"""Number of commits of a drain in a second. A drain collects entries for 0.2 s."""


class Workload(Struct, frozen=True, kw_only=True):
    """An expected load.

    - `sessions`: number of sessions that are not finished, at a time.
    - `watchers`: number of sockets and event streams of all sessions together.
    - `switches_per_s`: number of changes of all sessions in a second.
    - `new_sessions_per_day`: number of sessions that are created in a day.
    - `participants`: number of participants of a session.
    - `has_command_ids`: whether clients send a command id with each change, as the SDKs do.
    - `finished_session_ttl_s`: `SYNCKAIROS_SESSION_TTL_S`, the seconds for which Redis keeps a finished session.
    - `retention_days`: number of days for which Postgres keeps versions.
    - `outage_s`: seconds of an outage of Postgres for which the outbox in Redis has room.
    - `redis_node_bytes`: memory of one Redis node in bytes.
    - `processor_factor`: processor time of this machine, divided by that of the measured machine.
    """

    sessions: int
    new_sessions_per_day: int
    switches_per_s: float
    watchers: int = 0
    participants: int = 2
    has_command_ids: bool = True
    finished_session_ttl_s: int = 3_600
    retention_days: int = 30
    outage_s: int = 3_600
    redis_node_bytes: int = 16 << 30
    processor_factor: float = 1.0

    @property
    def document_bytes(self) -> int:
        """Return the size of a document in bytes."""
        return DOCUMENT_BYTES + PARTICIPANT_DOCUMENT_BYTES * self.participants

    @property
    def switches_per_session(self) -> float:
        """Return the number of changes of a session in its life."""
        return self.switches_per_s * DAY_S / max(1, self.new_sessions_per_day)

    @property
    def deliveries_per_s(self) -> float:
        """Return the number of deliveries of versions to watchers in a second."""
        return self.switches_per_s * self.watchers / max(1, self.sessions)


class Capacity(Struct, frozen=True):
    """What a workload needs. Cores are average uses of processor time, in cores."""

    instances: int
    instance_cores: float
    socket_bytes: int
    workers: int
    worker_cores: float
    redis_nodes: int
    redis_cores: float
    redis_bytes: int
    outbox_bytes: int
    postgres_cores: float
    postgres_bytes_per_day: int
    postgres_bytes: int
    wal_bytes_per_s: int
    postgres_iops: int


def redis_bytes_of_session(load: Workload) -> float:
    """Return the bytes of Redis for one session at the end of its life."""
    is_large = load.participants >= LARGE_PARTICIPANTS
    versions = min(load.switches_per_session, STORED_VERSIONS)
    records = min(load.switches_per_session, MAX_RECORDS) if load.has_command_ids else 0
    return (
        SESSION_REDIS_BYTES
        + PARTICIPANT_REDIS_BYTES * load.participants
        + versions * (LARGE_VERSION_REDIS_BYTES if is_large else VERSION_REDIS_BYTES)
        + records * RECORD_REDIS_BYTES
    )


def processor_us_of_switch(participants: int) -> tuple[float, float, float, float]:
    """Return the processor time of a switch in µs: in an instance, in Redis, in a worker and in Postgres."""
    instance, redis, worker, postgres = (each * max(0, participants - 2) for each in PARTICIPANT_US)
    return (
        SWITCH_INSTANCE_US + instance,
        SWITCH_REDIS_US + redis,
        SWITCH_WORKER_US + worker,
        SWITCH_POSTGRES_US + postgres,
    )


def postgres_bytes_of_version(load: Workload) -> float:
    """Return the bytes of Postgres for a version of a session."""
    size = load.document_bytes
    if load.participants >= LARGE_PARTICIPANTS:
        return VERSION_POSTGRES_BYTES + LARGE_CHANGE_POSTGRES_BYTES
    return VERSION_POSTGRES_BYTES + (size if size < COMPRESSED_FROM_BYTES else size * COMPRESSION)


def estimate_capacity(load: Workload) -> Capacity:
    """Return what a workload needs."""
    factor, switches = load.processor_factor / 1e6, load.switches_per_s
    instance_us, redis_us, worker_us, postgres_us = processor_us_of_switch(load.participants)
    updates = switches if load.watchers else 0.0
    instance_cores = factor * (
        switches * instance_us + updates * UPDATE_INSTANCE_US + load.deliveries_per_s * DELIVERY_INSTANCE_US
    )
    redis_cores, worker_cores, postgres_cores = (
        factor * switches * each for each in (redis_us, worker_us, postgres_us)
    )
    finished = load.new_sessions_per_day * load.finished_session_ttl_s / DAY_S
    redis_bytes = (load.sessions + finished) * redis_bytes_of_session(load)
    entry_bytes = load.document_bytes if load.participants < LARGE_PARTICIPANTS else LARGE_VERSION_REDIS_BYTES
    outbox_bytes = switches * load.outage_s * (ENTRY_REDIS_BYTES + entry_bytes)
    postgres_per_day = load.new_sessions_per_day * (
        SESSION_POSTGRES_BYTES + PARTICIPANT_POSTGRES_BYTES * load.participants
    ) + switches * DAY_S * postgres_bytes_of_version(load)
    wal_per_s = postgres_per_day * WAL_FACTOR / DAY_S
    # Each byte is written to the WAL, and at a checkpoint to its table or index.
    iops = (wal_per_s + postgres_per_day / DAY_S) / PAGE_BYTES + min(DRAINS_PER_S, switches)
    return Capacity(
        instances=max(2, ceil(instance_cores / CORE_SHARE)),
        instance_cores=round(instance_cores, 2),
        socket_bytes=load.watchers * SOCKET_BYTES,
        workers=max(2, ceil(worker_cores / CORE_SHARE)),
        worker_cores=round(worker_cores, 2),
        redis_nodes=max(
            ceil(redis_cores / CORE_SHARE),
            ceil((redis_bytes + outbox_bytes) / (load.redis_node_bytes * REDIS_MEMORY_SHARE)),
        ),
        redis_cores=round(redis_cores, 2),
        redis_bytes=round(redis_bytes),
        outbox_bytes=round(outbox_bytes),
        postgres_cores=round(postgres_cores, 2),
        postgres_bytes_per_day=round(postgres_per_day),
        postgres_bytes=round(postgres_per_day * load.retention_days),
        wal_bytes_per_s=round(wal_per_s),
        postgres_iops=ceil(iops),
    )
