"""Commands `synckairos audit …` and `synckairos verify-audit`: failed entries, and a check of the stored versions."""

import click

from synckairos.cli.command import CommandGroup, command_settings, print_lines, run


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


@audit.command("retry")
@click.argument("entry", required=False)
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
@click.argument("session_id", metavar="ID", required=False)
@click.option("--all", "all_sessions", is_flag=True, help="Verify all sessions.")
def verify_audit(session_id: str | None, all_sessions: bool) -> None:
    """Replay the audit of session ID, or of all with --all, and compare the documents. Exits 1 if one has a fault.

    The command only reads, and only from Postgres. Versions that are still in the outbox are not verified.
    """
    if (session_id is None) is not all_sessions:
        raise click.UsageError("Give either one ID or --all.")
    settings = command_settings()
    from synckairos.admin import audit

    run(print_lines(audit.verify_audit(settings, session_id)))
