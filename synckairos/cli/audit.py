"""For whoever answers for the audit: what Postgres refused, and whether what it holds is true."""

import click

from synckairos.cli.command import Group, command_settings, print_lines, run


@click.group(cls=Group)
def audit() -> None:
    """Look after what Postgres refused."""


@audit.command("failed")
def audit_failed() -> None:
    """List the entries that were set aside; exit code 1 where there are any."""
    settings = command_settings()
    from synckairos.admin import audit

    lines = run(audit.list_failed_entries(settings))
    click.echo("\n".join(lines) or "nothing was set aside")
    raise SystemExit(1 if lines else 0)


@audit.command("retry")
@click.argument("entry", required=False)
@click.option("--all", "everything", is_flag=True, help="All that were set aside.")
def audit_retry(entry: str | None, everything: bool) -> None:
    """Have ENTRY, or --all, tried again with a fresh schedule: by the next sweep of a worker."""
    if (entry is None) is not everything:
        raise click.UsageError("Name one ENTRY, or say --all.")
    settings = command_settings()
    from synckairos.admin import audit

    sent = run(audit.retry_failed_entries(settings, entry))
    click.echo(f"{sent} {'entry' if sent == 1 else 'entries'} will be tried again" if sent else "nothing was set aside")


@click.command("verify-audit")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="Every session there is.")
def verify_audit(session_id: str | None, everything: bool) -> None:
    """Replay the audit of session ID, or --all, through the engine and compare byte for byte; exit code 1 on a fault.

    Only reads, and only Postgres: what is still on its way there isn't looked at.
    """
    if (session_id is None) is not everything:
        raise click.UsageError("Name one ID, or say --all.")
    settings = command_settings()
    from synckairos.admin import audit

    run(print_lines(audit.verify_audit(settings, session_id)))
