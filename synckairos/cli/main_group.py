"""Top-level command group: sections of the help, texts of errors, and exit codes."""

import contextlib
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import click

from synckairos import config
from synckairos.cli.command import CommandGroup, write_help_section
from synckairos.cli.exit_codes import ExitCode, exit_code_of, exit_code_rows
from synckairos.cli.progress import uses_colour
from synckairos.errors import StoreUnavailable, SyncKairosError, ValidationFailed
from synckairos.telemetry.log import escape_control_characters
from synckairos.urls.redact_url import redact_url


class _OutputClosed(Exception):
    """The reader of stdout has closed stdout."""


class MainGroup(CommandGroup):
    """Top-level command group. Its help lists the commands by section.

    An expected error is printed without a traceback, and the process ends with an exit code of `exit_codes.py`.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections
        for command in (each for section in sections.values() for each in section):
            self.add_command(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands to the help, one section for each title of `sections`."""
        for title, commands in self._sections.items():
            write_help_section(formatter, title, commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of exit codes at the end of the help."""
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_code_rows())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that `ctx` names, without colours if the environment does not allow colours.

        Return its result.
        """
        if not uses_colour():
            ctx.color = False
        try:
            result = super().invoke(ctx)
            _flush()
        except BrokenPipeError:  # click would end the process with exit code 1
            raise _OutputClosed from None
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name, and end the process with the exit code of the command.

        An error is printed on stderr. The parameters are those of `click.Group.main`.
        """
        run = functools.partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        _prepare_streams()
        with _exit_on_sigterm():
            code = _end(run)
        raise SystemExit(code)


def _end(run: Callable[[], Any]) -> int:
    """Call `run`, print its error if it fails, and return the exit code."""
    try:
        try:
            result = run()
        except SystemExit as end:
            result = end.code
        _flush()
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except SyncKairosError as error:
        _print_error(_error_text(error))
        return exit_code_of(error)
    except (_OutputClosed, BrokenPipeError):
        _discard_output()
        return ExitCode.OUTPUT_CLOSED
    except OSError as error:
        _discard_output()
        _print_error(f"{error.filename or 'cannot read or write'}: {error.strerror or error}")
        return ExitCode.SYSTEM
    except Exception:  # noqa: BLE001  the end of the program: the traceback is printed
        _print_error(f"{traceback.format_exc()}\nThis is an error of SyncKairos. Please report it with these lines.")
        return ExitCode.BUG
    return result if isinstance(result, int) else ExitCode.OK


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit at SIGTERM inside the block, so that the terminal is restored.

    Long-running processes replace this handler by a different handler.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(ExitCode.TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _error_text(error: SyncKairosError) -> str:
    """Return the text to print for an error.

    The text lists the faults of a request, or names the setting of an unreachable store.
    """
    match error:
        case ValidationFailed():
            return "\n".join(f"{fault['path']}: {fault['message']}" for fault in error.details)
        case StoreUnavailable(setting=str(setting)):
            cause = error.__cause__ or error
            reason = redact_url((str(cause).strip() or type(cause).__name__).splitlines()[0])
            address = error.address or _redis_address(setting)
            return f"{setting}: {reason}{f' ({address})' if address else ''}; {error.remedy}"
        case _:
            return error.message


def _redis_address(setting: str) -> str | None:
    """Return the URL of Redis without secrets for an error about Redis, None for other errors.

    Errors of Postgres already contain the address of Postgres.
    """
    if setting == "REDIS_URL":
        with contextlib.suppress(config.BadSettings):
            return redact_url(config.load().redis_url)
    return None


def _print_error(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(
            click.style(escape_control_characters(text), fg="red"), err=True, color=None if uses_colour() else False
        )


def _prepare_streams() -> None:
    """Open standard streams that are closed, and make stdout and stderr escape characters that the locale lacks."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # uses the lowest free number; libuv must not get a number below 3
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_output() -> None:
    """Redirect stdout to the null device. Otherwise Python would write unsent output at its end, and fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
