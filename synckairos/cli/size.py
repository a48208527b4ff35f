"""Command `synckairos size`, which calculates what an expected load needs. It needs neither stores nor settings."""

import click
import orjson


@click.command()
@click.option("--sessions", type=click.IntRange(1), required=True, help="Number of unfinished sessions at a time.")
@click.option("--watchers", type=click.IntRange(0), default=0, help="Sockets and event streams of all sessions (0).")
@click.option("--switches", type=click.FloatRange(0), required=True, help="Changes of all sessions in a second.")
@click.option("--new-sessions", type=click.IntRange(0), help="Sessions created in a day (24 times --sessions).")
@click.option("--participants", type=click.IntRange(0, 1_000), default=2, help="Participants of a session (2).")
@click.option("--retention", type=click.IntRange(1), default=30, help="Days for which Postgres keeps versions (30).")
@click.option("--outage", type=click.IntRange(0), default=60, help="Minutes of an outage of Postgres to outlast (60).")
@click.option("--redis-memory", type=click.FloatRange(0.1), default=16, help="Memory of a Redis node in GiB (16).")
@click.option("--no-command-ids", is_flag=True, help="The clients send no command ids. The SDKs send them.")
@click.option(
    "--processor-factor",
    type=click.FloatRange(0.01),
    default=1.0,
    help="Processor time of your machine divided by that of the measured machine (1).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def size(
    sessions: int,
    watchers: int,
    switches: float,
    new_sessions: int | None,
    participants: int,
    retention: int,
    outage: int,
    redis_memory: float,
    no_command_ids: bool,
    processor_factor: float,
    as_json: bool,
) -> None:
    """Calculate instances, workers, Redis nodes and Postgres for an expected load, from measured constants."""
    import msgspec

    from synckairos.admin import capacity

    load = capacity.Workload(
        sessions=sessions,
        new_sessions_per_day=24 * sessions if new_sessions is None else new_sessions,
        switches_per_s=switches,
        watchers=watchers,
        participants=participants,
        has_command_ids=not no_command_ids,
        retention_days=retention,
        outage_s=outage * 60,
        redis_node_bytes=round(redis_memory * (1 << 30)),
        processor_factor=processor_factor,
    )
    found = capacity.estimate_capacity(load)
    if as_json:
        click.echo(orjson.dumps(msgspec.to_builtins(found)).decode())
        return
    rows = (
        ("instances", f"{found.instances}", f"{found.instance_cores} cores on average"),
        ("sockets", _render_bytes(found.socket_bytes), "memory of all instances together, at most"),
        ("workers", f"{found.workers}", f"{found.worker_cores} cores on average"),
        ("Redis nodes", f"{found.redis_nodes}", f"{found.redis_cores} cores on average"),
        ("Redis memory", _render_bytes(found.redis_bytes), "sessions, without the outbox and without spare memory"),
        ("outbox", _render_bytes(found.outbox_bytes), f"after {outage} minutes without Postgres"),
        ("Postgres disk", _render_bytes(found.postgres_bytes), f"after {retention} days"),
        ("", _render_bytes(found.postgres_bytes_per_day), "a day"),
        ("Postgres WAL", _render_bytes(found.wal_bytes_per_s), "a second, without page images"),
        ("Postgres writes", f"{found.postgres_iops}", f"IOPS of 8 KiB; {found.postgres_cores} cores on average"),
    )
    for name, value, text in rows:
        click.echo(f"{name:<16}{value:>10}  {text}")


def _render_bytes(count: float) -> str:
    """Return a number of bytes as a text with three digits and a unit, such as `1.25 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1_000:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:,.3g} TiB" if count < 1_000 else f"{count:,.0f} TiB"
