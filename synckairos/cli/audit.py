"""Commands `synckairos audit …` for the outbox, and `synckairos verify-audit` for the stored versions."""

import re
from uuid import UUID

import click

from synckairos.cli.command import (
    CommandGroup,
    json_option,
    load_command_settings,
    print_lines_with_progress,
    run,
    run_with_progress,
)
from synckairos.cli.escaped_echo import echo
from synckairos.cli.exit_codes import ExitCode
from synckairos.cli.progress import show_progress

_ENTRY_ID = re.compile(r"[0-9]+-[0-9]+")
"""Pattern of the id of an outbox entry, which is its Redis stream id."""


@click.group(cls=CommandGroup)
def audit() -> None:
    """Drain the outbox, and list and retry outbox entries that Postgres rejected."""


@audit.command("drain")
def audit_drain() -> None:
    """Move all versions in the outbox to Postgres, and end when it is empty. Exits 1 if Postgres rejected a version.

    Workers do the same all the time. Use this command to empty the outbox of a backup of Redis.
    """
    settings = load_command_settings()
    from synckairos.admin.outbox_drain import drain_outbox

    with show_progress("draining the outbox") as display:
        count = run(drain_outbox(settings, display))
    echo(f"{count:,} {'version was' if count == 1 else 'versions were'} new in Postgres; the outbox is empty")


@audit.command("failed")
@json_option("entry")
def audit_failed(as_json: bool) -> None:
    """List the outbox entries that were set aside. Exits 1 if there is such an entry."""
    settings = load_command_settings()
    from synckairos.admin import audit

    lines = run_with_progress("reading the entries", audit.list_failed_entries(settings, as_json=as_json))
    if not lines:
        echo("no entries were set aside", err=True)
        return
    echo("\n".join(lines))
    raise SystemExit(ExitCode.NEGATIVE)


def _checked_entry(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and _ENTRY_ID.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is not the id of an entry, such as 1764460800000-0.")
    return value


@audit.command("retry")
@click.argument("entry", required=False, callback=_checked_entry)
@click.option("--all", "all_entries", is_flag=True, help="Retry all outbox entries that were set aside.")
def audit_retry(entry: str | None, all_entries: bool) -> None:
    """Schedule a retry of ENTRY, or of all entries with --all. A worker retries them at its next sweep."""
    if (entry is None) is not all_entries:
        raise click.UsageError("Give either one ENTRY or --all.")
    settings = load_command_settings()
    from synckairos.admin import audit

    count = run_with_progress("marking the entries", audit.retry_failed_entries(settings, entry))
    if not count:
        echo("no entries were set aside", err=True)
        return
    echo(f"{count} {'entry' if count == 1 else 'entries'} will be retried")


@click.command("verify-audit")
@click.argument("session_id", metavar="ID", type=click.UUID, required=False)
@click.option("--all", "all_sessions", is_flag=True, help="Verify all sessions.")
def verify_audit(session_id: UUID | None, all_sessions: bool) -> None:
    """Verify the audit of session ID, or of all sessions with --all, by replay. Exits 1 if a fault is found.

    The command reads only Postgres and changes nothing. Versions that are still in the outbox are not verified.
    """
    if (session_id is None) is not all_sessions:
        raise click.UsageError("Give either one ID or --all.")
    settings = load_command_settings()
    from synckairos.admin import audit

    only = None if session_id is None else str(session_id)
    print_lines_with_progress("verifying", lambda display: audit.verify_audit(settings, only, display))
