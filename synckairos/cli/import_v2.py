"""Command `synckairos import-v2`, which imports live sessions of SyncKairos v2."""

import asyncio
import signal

import click

from synckairos.cli.command import load_command_settings, print_lines, run, run_with_progress
from synckairos.cli.escaped_echo import echo
from synckairos.cli.progress import ProgressDisplay, show_progress
from synckairos.config import Settings
from synckairos.urls.redis_url import validate_single_redis_url


def _checked_url(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return value and validate_single_redis_url(value)
    except ValueError as fault:
        raise click.BadParameter(str(fault)) from None


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@click.command("import-v2")
@click.option(
    "--redis",
    "redis_url",
    metavar="URL",
    callback=_checked_url,
    help="URL of v2's Redis. The sessions also stay in v2's Redis.",
)
@click.option("--prefix", metavar="TEXT", default="session:", help="Prefix of v2's session keys in Redis (session:).")
@click.option("--follow", is_flag=True, help="Import each change of v2, until SIGTERM or Ctrl-C.")
@click.option("--finish", is_flag=True, help="Convert the last rows of v2, which has stopped, and refuse further rows.")
def import_v2(redis_url: str | None, prefix: str, follow: bool, finish: bool) -> None:
    """Import live sessions of SyncKairos v2 from its Redis, while v2 runs. Exits 1 if a session cannot be imported.

    A second run imports only sessions that v2 changed after the first run. Sessions that were changed in this product
    are not imported again.
    """
    if redis_url is None and not finish:
        raise click.UsageError("Give --redis with the URL of v2's Redis, or --finish.")
    if follow and (redis_url is None or finish):
        raise click.UsageError("Give --follow with --redis, and without --finish.")
    if not prefix:
        raise click.UsageError("--prefix must not be empty.")
    settings = load_command_settings()
    if redis_url is not None:
        with show_progress("reading sessions of v2") as display:
            run(_import(settings, redis_url, prefix, display, follow=follow))
    if finish:
        from synckairos.admin.from_v2 import convert_rows_since_takeover

        lines = run_with_progress("converting later rows of v2", convert_rows_since_takeover(settings, finish=True))
        echo("\n".join(lines) if lines else "nothing to finish", err=not lines)


async def _import(settings: Settings, redis_url: str, prefix: str, display: ProgressDisplay, *, follow: bool) -> None:
    from synckairos.admin.from_v2 import import_sessions

    stop = None
    if follow:
        stop = asyncio.Event()
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, _request_stop, stop)
    await print_lines(import_sessions(settings, redis_url, prefix, stop=stop, progress=display), display.echo)


def _request_stop(stop: asyncio.Event) -> None:
    """Request the last pass. The next signal then ends the process, because its default action is restored."""
    stop.set()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
