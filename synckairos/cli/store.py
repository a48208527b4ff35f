"""Commands `synckairos store`: copy the store to another Redis, and how it would spread over a cluster."""

import click
import orjson

from synckairos.cli.command import CommandGroup, load_command_settings, run
from synckairos.cli.progress import show_progress


@click.group(cls=CommandGroup)
def store() -> None:
    """Copy the store to another Redis, and examine it."""


@store.command("reshard-check")
@click.option(
    "--nodes",
    "sizes",
    metavar="NUMBER",
    type=click.IntRange(1, 1_000),
    multiple=True,
    default=(3, 6, 8, 12),
    show_default=True,
    help="Number of primaries of a cluster. Can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line per cluster size.")
def reshard_check(sizes: tuple[int, ...], as_json: bool) -> None:
    """Print the number of partitions that each primary of a Redis Cluster would get, for several cluster sizes.

    The primaries have contiguous ranges of slots of the same length, as `redis-cli --cluster create` makes them. The
    command reads the hash tags of the store, and changes nothing.
    """
    import msgspec

    from synckairos.admin.reshard_check import check_shares

    shares = run(check_shares(load_command_settings(), sizes))
    if as_json:
        for each in shares:
            click.echo(orjson.dumps(msgspec.to_builtins(each)).decode())
        return
    click.echo(f"{'nodes':>5}  {'busiest':>7}  partitions of each node")
    for each in shares:
        counts = " ".join(map(str, each.partitions_by_node))
        click.echo(f"{each.nodes:>5}  {each.busiest_share:>6.2f}x  {counts}")


@store.command("copy")
@click.option(
    "--to", "target_url", metavar="URL", required=True, help="URL of the new, empty Redis, for all processes."
)
@click.option(
    "--partitions",
    metavar="NUMBER",
    type=click.IntRange(1, 16_384),
    help="Number of partitions of the new store (as many as now). Only a store with one can get more.",
)
def copy(target_url: str, partitions: int | None) -> None:
    """Copy the running store of REDIS_URL to another Redis, and let all instances and workers continue there.

    Instances serve during the copy. At its end, changes get a 503 for less than two seconds. If the command is killed,
    nothing has moved; run it again. See docs/operate/move-store.md.
    """
    from synckairos.admin.store_copy import copy_store

    with show_progress("copying the store") as display:
        result = run(copy_store(load_command_settings(), target_url, partitions, display.report))
    if result is None:
        click.echo("the store had already moved there")
    else:
        click.echo(f"{result.sessions:,} sessions copied; changes were stopped for {result.fenced_ms} ms")
    click.echo("set REDIS_URL and SYNCKAIROS_PARTITIONS of all processes to the new store before their next start")
