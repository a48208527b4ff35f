"""Code shared by all commands: help, settings and event loop."""

import asyncio
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from synckairos import config
from synckairos.cli.exit_codes import ExitCode
from synckairos.cli.progress import ProgressDisplay, show_progress
from synckairos.config import Settings
from synckairos.config.value_types import TENANT_NAME, TENANT_NAME_FAULT
from synckairos.principal import DEFAULT_TENANT
from synckairos.telemetry import alert_sender, log

Result = TypeVar("Result")

CANCEL_AGAIN_S = 2.0
"""Seconds after which a command that was cancelled by a signal, and still runs, is cancelled again."""


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def json_option(item: str) -> Callable[[Decorated], Decorated]:
    """Return a decorator that adds the flag `--json` to a command, as its parameter `as_json`.

    `item` is the noun for one result in the help, such as "job".
    """
    return click.option("--json", "as_json", is_flag=True, help=f"Print JSON, one line per {item}.")


def tenant_option(items: str) -> Callable[[Decorated], Decorated]:
    """Return a decorator that adds the option `--tenant` to a command: the name of a tenant, by default `default`.

    `items` is the noun in the help for the data of the tenant, such as "the sessions". A text that is no name of a
    tenant is a usage error.
    """

    def check(_: click.Context, __: click.Parameter, value: str) -> str:
        if not re.fullmatch(TENANT_NAME, value):
            raise click.BadParameter(TENANT_NAME_FAULT)
        return value

    return click.option(
        "--tenant",
        metavar="NAME",
        default=DEFAULT_TENANT,
        show_default=True,
        callback=check,
        help=f"Tenant of {items}.",
    )


def limit_option(items: str, default: int, maximum: int) -> Callable[[Decorated], Decorated]:
    """Return a decorator that adds the option `--limit` to a command: a number of results from 1 to `maximum`.

    `items` is the plural noun for the results in the help, such as "jobs".
    """
    limit, help_text = click.IntRange(1, maximum), f"Maximum number of {items}."
    return click.option("--limit", metavar="NUMBER", type=limit, default=default, show_default=True, help=help_text)


class CommandGroup(click.Group):
    """Command group whose help shows the whole first sentence of each command. Click would truncate long sentences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands of this group to its help, without hidden commands."""
        shown = [self.commands[name] for name in self.list_commands(ctx) if not self.commands[name].hidden]
        write_help_section(formatter, "Commands", shown)


def load_process_settings(env_file: Path | None = None, **options: Any) -> Settings:
    """Load the settings of a long-running process, and configure the log and the alerts of this process.

    `env_file` is the path of a .env file to read; None reads only the environment. `options` are command-line options
    by field name. An option that is not None has priority over all other sources.

    Raises: BadSettings.
    """
    settings = config.load(env_file, **{name: value for name, value in options.items() if value is not None})
    log.configure_logging(settings.log_level, dev=settings.dev)
    dsn = settings.sentry_dsn
    alert_sender.configure_alerts(settings.alarm_webhook_url, None if dsn is None else dsn.get_secret_value())
    return settings


def load_command_settings() -> Settings:
    """Load the settings of a command that prints a result and ends, and configure the log of this process.

    If no log level is set, only errors are logged, because the command prints its result.

    Raises: BadSettings.
    """
    settings = config.load()
    log.configure_logging(settings.log_level if config.is_set(settings, "log_level") else "error")
    return settings


def configured_server_url() -> str:
    """Return the URL of the server that the settings describe, on this machine, without a slash at its end.

    Raises: BadSettings.
    """
    settings = config.load()
    host = settings.local_connect_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port or 3000}{settings.root_path}"


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a new event loop until it ends, and return its result.

    Ctrl-C and SIGTERM cancel the coroutine. A coroutine that installs its own signal handlers is not cancelled.

    Raises: KeyboardInterrupt after Ctrl-C, SystemExit after SIGTERM, and the exceptions of the coroutine.
    """
    import uvloop

    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(coroutine)
    cancellation = _CancellationAtSignals()
    try:
        with cancellation.handling_signals(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(cancellation.run(coroutine))
        if not cancellation.received:
            return result
    except asyncio.CancelledError:
        if not cancellation.received:
            raise
    raise KeyboardInterrupt if cancellation.received[0] == signal.SIGINT else SystemExit(ExitCode.TERMINATED)


class _CancellationAtSignals:
    """Cancellation of one coroutine at Ctrl-C and SIGTERM.

    The handlers are not those of the event loop. A loop that has run its coroutine does not see the signals that arrive
    until it is closed, so these signals would be lost.
    """

    received: list[signal.Signals]
    """The signals so far, oldest first."""

    def __init__(self) -> None:
        self.received = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._repetition: asyncio.TimerHandle | None = None

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Record both signals inside the block, and restore the handlers from before at its end."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        for number in numbers:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    async def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine, and cancel it at each signal. Raises: CancelledError after a signal."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self.received:  # the signal arrived before the loop ran
            self._cancel()
        try:
            return await coroutine
        finally:
            self._task = None
            self._stop_repeating()

    def _handle(self, number: int, _: object) -> None:
        self.received.append(signal.Signals(number))
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        """Cancel the coroutine, and repeat this until its end.

        redis-py can swallow a cancellation (see `store/redis_errors.py`).
        """
        self._stop_repeating()
        if self._loop is not None and self._task is not None:
            self._task.cancel()
            self._repetition = self._loop.call_later(CANCEL_AGAIN_S, self._cancel)

    def _stop_repeating(self) -> None:
        if self._repetition is not None:
            self._repetition.cancel()


@contextmanager
def end_at_signals() -> Iterator[None]:
    """End the block without an exception after Ctrl-C or SIGTERM, for long-running processes and for their start."""
    try:
        yield
    except KeyboardInterrupt:
        return
    except SystemExit as end:
        if end.code != ExitCode.TERMINATED:
            raise


async def run_until_signal(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until it ends. SIGTERM and Ctrl-C cancel the coroutine; this function then returns normally."""
    task = asyncio.ensure_future(coroutine)
    is_stopped = False

    def stop() -> None:
        nonlocal is_stopped
        is_stopped = True
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not is_stopped:
            raise


async def print_lines(lines: AsyncIterator[str], echo: Callable[[str], None] = click.echo) -> None:
    """Call `echo` with each line as soon as `lines` yields it, until `lines` ends."""
    async for line in lines:
        echo(line)


def run_with_progress(activity: str, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine and return its result. If it takes some time, show the text `activity` as progress on stderr."""
    with show_progress(activity):
        return run(coroutine)


def print_lines_with_progress(
    activity: str, lines: Callable[[ProgressDisplay], AsyncIterator[str]], empty: str = ""
) -> None:
    """Print each line as soon as `lines` yields it, and show progress on stderr.

    `lines` is called with the display, to which it reports its progress. `activity` is the text of the progress until
    the first report. `empty` is a message for stderr that is printed if there are no lines; no message if it is empty.
    """
    count = 0
    with show_progress(activity) as display:

        def echo(line: str) -> None:
            nonlocal count
            count += 1
            display.echo(line)

        run(print_lines(lines(display), echo))
    if empty and not count:
        click.echo(empty, err=True)


def write_help_section(formatter: click.HelpFormatter, title: str, commands: Sequence[click.Command]) -> None:
    """Write the section `title` of a help text, with one line for the name and the short help of each command."""
    with formatter.section(title):
        formatter.write_dl([(each.name or "", each.get_short_help_str(limit=200)) for each in commands])
