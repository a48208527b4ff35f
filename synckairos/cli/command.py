"""What all commands have in common: how they are listed, read settings, run, and say what went wrong."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import psycopg

from synckairos import config
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable, SyncKairosError, ValidationFailed
from synckairos.telemetry import alerts, log

Result = TypeVar("Result")


class Group(click.Group):
    """Lists its commands with the whole first sentence of each, however long."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _section(formatter, "Commands", [self.commands[name] for name in self.list_commands(ctx)])


class Commands(Group):
    """All commands, listed by section. Every named error becomes clear lines and exit code 1, without a traceback."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections
        for command in (each for section in sections.values() for each in section):
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self._sections.items():
            _section(formatter, title, commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SyncKairosError as error:
            told = error.message
            if isinstance(error, ValidationFailed):
                told = "\n".join(f"{fault['path']}: {fault['message']}" for fault in error.details)
            cause = error.__cause__ if isinstance(error, StoreUnavailable) else None
            if cause is not None and not isinstance(cause, psycopg.ProgrammingError):
                told = _away(cause)
        except psycopg.OperationalError as error:
            told = _away(error)
        click.echo(told, err=True)
        raise SystemExit(1)


def process_settings(env_file: Path | None = None, **options: Any) -> Settings:
    """Load the settings of a process that serves: options that were given come first. Sets its log and alarms up."""
    settings = config.load(env_file, **{name: value for name, value in options.items() if value is not None})
    log.configure(settings.log_level, dev=settings.dev)
    dsn = settings.sentry_dsn
    alerts.configure(settings.alarm_webhook_url, None if dsn is None else dsn.get_secret_value())
    return settings


def command_settings() -> Settings:
    """Load the settings of a command that tells somebody: it speaks for itself, so of the log only errors show."""
    settings = config.load()
    log.configure(settings.log_level if config.is_set(settings, "log_level") else "error")
    return settings


def run(job: Coroutine[Any, Any, Result]) -> Result:
    """Run `job` to its end."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(job)


async def run_until_signal(job: Coroutine[Any, Any, None]) -> None:
    """Run `job` until it ends, cancelling it on SIGTERM or Ctrl-C: a clean end, not a failure."""
    task = asyncio.ensure_future(job)
    told = asyncio.Event()

    def stop() -> None:
        told.set()
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told.is_set():
            raise


async def print_lines(lines: AsyncIterator[str]) -> None:
    """Print lines as they come."""
    async for line in lines:
        click.echo(line)


def _section(formatter: click.HelpFormatter, title: str, commands: Sequence[click.Command]) -> None:
    with formatter.section(title):
        formatter.write_dl([(each.name or "", each.get_short_help_str(limit=200)) for each in commands])


def _away(cause: BaseException) -> str:
    """Tell which store doesn't answer, why, and what to do about it."""
    name = "DATABASE_URL" if isinstance(cause, psycopg.Error) else "REDIS_URL"
    why = config.redact((str(cause).strip() or type(cause).__name__).splitlines()[0])
    return f"{name}: {why}; start it, or say where it is (`synckairos doctor` checks everything)"
