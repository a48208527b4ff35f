"""Commands `synckairos audit …` and `synckairos verify-audit`: failed entries, and a check of the stored versions."""

import re
from uuid import UUID

import click

from synckairos.cli.command import CommandGroup, command_settings, print_lines, run

_ENTRY_ID = re.compile(r"[0-9]+-[0-9]+")
"""The id of an entry of the outbox, as `audit failed` prints it: that of its Redis stream."""


@click.group(cls=CommandGroup)
def audit() -> None:
    """List and retry entries that Postgres rejected."""


@audit.command("failed")
def audit_failed() -> None:
    """List the entries that were set aside. Exits 1 if there are any."""
    settings = command_settings()
    from synckairos.admin import audit

    lines = run(audit.list_failed_entries(settings))
    click.echo("\n".join(lines) or "no entries were set aside")
    raise SystemExit(1 if lines else 0)


def _checked_entry(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and _ENTRY_ID.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is not the id of an entry, such as 1764460800000-0.")
    return value


@audit.command("retry")
@click.argument("entry", required=False, callback=_checked_entry)
@click.option("--all", "all_entries", is_flag=True, help="Retry all entries that were set aside.")
def audit_retry(entry: str | None, all_entries: bool) -> None:
    """Retry ENTRY, or all entries with --all, at the next sweep of a worker. All attempts are available again."""
    if (entry is None) is not all_entries:
        raise click.UsageError("Give either one ENTRY or --all.")
    settings = command_settings()
    from synckairos.admin import audit

    count = run(audit.retry_failed_entries(settings, entry))
    noun = "entry" if count == 1 else "entries"
    click.echo(f"{count} {noun} will be retried" if count else "no entries were set aside")


@click.command("verify-audit")
@click.argument("session_id", metavar="ID", type=click.UUID, required=False)
@click.option("--all", "all_sessions", is_flag=True, help="Verify all sessions.")
def verify_audit(session_id: UUID | None, all_sessions: bool) -> None:
    """Replay the audit of session ID, or of all with --all, and compare the documents. Exits 1 if one has a fault.

    The command only reads, and only from Postgres. Versions that are still in the outbox are not verified.
    """
    if (session_id is None) is not all_sessions:
        raise click.UsageError("Give either one ID or --all.")
    settings = command_settings()
    from synckairos.admin import audit

    run(print_lines(audit.verify_audit(settings, None if session_id is None else str(session_id))))
