"""Code shared by all commands: help, settings, event loop, and texts of errors."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from synckairos import config
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable, SyncKairosError, ValidationFailed
from synckairos.telemetry import alerts, log

Result = TypeVar("Result")


class CommandGroup(click.Group):
    """Command group whose help shows the whole first sentence of each command. Click would truncate long sentences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_section(formatter, "Commands", [self.commands[name] for name in self.list_commands(ctx)])


class MainGroup(CommandGroup):
    """Top-level command group. Its help lists the commands by section.

    For each error of the product, the group prints the text without a traceback and exits with code 1.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections
        for command in (each for section in sections.values() for each in section):
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self._sections.items():
            _write_section(formatter, title, commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SyncKairosError as error:
            click.echo(_error_text(error), err=True)
            raise SystemExit(1) from None


def process_settings(env_file: Path | None = None, **options: Any) -> Settings:
    """Load the settings of a long-running process, and configure its log and alerts.

    `env_file` is the path of a .env file to read; None reads only the environment. `options` are command-line options
    by field name. An option that is not None has priority over other sources.
    """
    settings = config.load(env_file, **{name: value for name, value in options.items() if value is not None})
    log.configure(settings.log_level, dev=settings.dev)
    dsn = settings.sentry_dsn
    alerts.configure(settings.alarm_webhook_url, None if dsn is None else dsn.get_secret_value())
    return settings


def command_settings() -> Settings:
    """Load the settings of a command that prints a result and ends.

    If no log level is set, log only errors, because the command prints its result.
    """
    settings = config.load()
    log.configure(settings.log_level if config.is_set(settings, "log_level") else "error")
    return settings


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a new event loop until it ends. Return its result."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


async def run_until_signal(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until it ends. SIGTERM and Ctrl-C cancel the coroutine and count as a normal end."""
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


async def print_lines(lines: AsyncIterator[str]) -> None:
    """Print each line when it is available."""
    async for line in lines:
        click.echo(line)


def _write_section(formatter: click.HelpFormatter, title: str, commands: Sequence[click.Command]) -> None:
    with formatter.section(title):
        formatter.write_dl([(each.name or "", each.get_short_help_str(limit=200)) for each in commands])


def _error_text(error: SyncKairosError) -> str:
    """Return the text to print for an error.

    The text lists the faults of a request, or names the setting of an unreachable store.
    """
    match error:
        case ValidationFailed():
            return "\n".join(f"{fault['path']}: {fault['message']}" for fault in error.details)
        case StoreUnavailable(setting=str(setting)):
            cause = error.__cause__ or error
            reason = config.redact((str(cause).strip() or type(cause).__name__).splitlines()[0])
            return f"{setting}: {reason}; start the store, or correct the setting (`synckairos doctor` checks both)"
        case _:
            return error.message
