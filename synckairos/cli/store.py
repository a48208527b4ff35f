"""Commands `synckairos store`: how the store would spread over the nodes of a cluster."""

import click
import orjson

from synckairos.cli.command import CommandGroup, load_command_settings, run


@click.group(cls=CommandGroup)
def store() -> None:
    """Examine the store in Redis."""


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
