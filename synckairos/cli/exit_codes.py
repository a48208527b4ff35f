"""Exit codes of all commands. A test compares `docs/reference/commands.md` with the table in this module."""

from enum import IntEnum

from synckairos.errors import SyncKairosError


class ExitCode(IntEnum):
    """Exit code of a command. All commands use the same code for the same kind of fault."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    SETTINGS = 3
    UNAVAILABLE = 4
    SYSTEM = 5
    BUG = 70
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: "The command did its work. A process stopped as requested.",
    ExitCode.NEGATIVE: "The command ran and the result is negative: not found, a fault found, refused, failed.",
    ExitCode.USAGE: "The command line, or a file that it names, is wrong.",
    ExitCode.SETTINGS: "A setting is wrong, or does not fit: an address, a port, a directory, a store.",
    ExitCode.UNAVAILABLE: "A store or server does not answer, or does not permit the work. Try again later.",
    ExitCode.SYSTEM: "The operating system refuses: a full disk, a file that cannot be read or written.",
    ExitCode.BUG: "An error of this program. Please report it with the printed traceback.",
    ExitCode.INTERRUPTED: "Ctrl-C ended a command before its end.",
    ExitCode.OUTPUT_CLOSED: "The reader of the output closed it, as `| head` does.",
    ExitCode.TERMINATED: "SIGTERM ended a command before its end.",
}
"""Meanings of the exit codes, for the help of `synckairos` and for the documentation."""

_BY_CODE = {
    "VALIDATION_ERROR": ExitCode.USAGE,
    "BAD_SETTINGS": ExitCode.SETTINGS,
    "PORT_TAKEN": ExitCode.SETTINGS,
    "EMBEDDED_STORE_FAILED": ExitCode.SETTINGS,
    "STORE_MISMATCH": ExitCode.SETTINGS,
    "BAD_MIGRATIONS": ExitCode.SETTINGS,
    "STORE_UNAVAILABLE": ExitCode.UNAVAILABLE,
    "MEMBER_SOURCE_INCOMPLETE": ExitCode.UNAVAILABLE,
    "PRIVILEGE_MISSING": ExitCode.UNAVAILABLE,
    "TAKEOVER_REFUSED": ExitCode.UNAVAILABLE,
    "IMPORT_RUNNING": ExitCode.UNAVAILABLE,
    "SERVER_UNREACHABLE": ExitCode.UNAVAILABLE,
    "CONNECTION_ENDED": ExitCode.UNAVAILABLE,
    "TOO_MANY_CONNECTIONS": ExitCode.UNAVAILABLE,
    "RATE_LIMIT_EXCEEDED": ExitCode.UNAVAILABLE,
    "UNAUTHORIZED": ExitCode.UNAVAILABLE,
    "FORBIDDEN": ExitCode.UNAVAILABLE,
    "KEYS_UNAVAILABLE": ExitCode.UNAVAILABLE,
}
"""Exit codes by error code. Errors that are not listed have the exit code `NEGATIVE`."""


def exit_code_of(error: SyncKairosError) -> ExitCode:
    """Return the exit code for an error of the product."""
    return _BY_CODE.get(error.code, ExitCode.NEGATIVE)


def exit_code_rows() -> list[tuple[str, str]]:
    """Return a pair for each exit code, in ascending order: the code as text, and its meaning."""
    return [(str(int(code)), MEANINGS[code]) for code in ExitCode]
