"""Commands `synckairos revocations …`, which revoke credentials and close sockets."""

import click

from synckairos.cli.command import CommandGroup, json_option, load_command_settings, run_with_progress, tenant_option
from synckairos.cli.escaped_echo import echo

_tenant_option = tenant_option("the credentials")


@click.group(cls=CommandGroup)
def revocations() -> None:
    """Revoke credentials, list revocations, and close sockets."""


@revocations.command("create")
@click.option("--jti", metavar="ID", help="Revoke the token with this id.")
@click.option("--subject", metavar="SUBJECT", help="Revoke the credentials of this subject.")
@click.option("--issued-before", metavar="INSTANT", help="Only tokens issued before this instant or UTC day.")
@click.option("--grp", metavar="NAME", help="Revoke the tokens of this group.")
@click.option("--credential", metavar="ID", help="Revoke the API key or link with this id.")
@click.option("--all", "is_for_all", is_flag=True, help="Revoke every credential.")
@click.option("--margin", metavar="SECONDS", type=int, default=0, show_default=True, help="Seconds until the effect.")
@_tenant_option
def revocations_create(
    jti: str | None,
    subject: str | None,
    issued_before: str | None,
    grp: str | None,
    credential: str | None,
    is_for_all: bool,
    margin: int,
    tenant: str,
) -> None:
    """Revoke credentials on all instances. Needs exactly one of --jti, --subject, --grp, --credential and --all."""
    given = {"jti": jti, "subject": subject, "grp": grp, "credential": credential, "all": is_for_all or None}
    fields = {name: value for name, value in given.items() if value is not None}
    if len(fields) != 1:
        raise click.UsageError("Give exactly one of --jti, --subject, --grp, --credential and --all")
    if issued_before is not None and not fields.keys() & {"subject", "all"}:
        raise click.UsageError("--issued-before needs --subject or --all")
    settings = load_command_settings()
    from synckairos.admin import revocations

    made = revocations.create_revocation(settings, tenant, {**fields, "margin_s": margin}, issued_before)
    echo("\n".join(run_with_progress("revoking the credentials", made)))


@revocations.command("list")
@_tenant_option
@json_option("item")
def revocations_list(tenant: str, as_json: bool) -> None:
    """List the revocations that have an effect, newest first."""
    settings = load_command_settings()
    from synckairos.admin import revocations

    reading = revocations.list_revocations(settings, tenant, as_json=as_json)
    lines = run_with_progress("reading the revocations", reading)
    echo("\n".join(lines) if lines else "no revocations", err=not lines)


@revocations.command("disconnect")
@click.argument("subject")
@_tenant_option
def revocations_disconnect(subject: str, tenant: str) -> None:
    """Close all sockets and streams of SUBJECT. Its credentials stay valid."""
    settings = load_command_settings()
    from synckairos.admin import revocations

    run_with_progress("closing the sockets", revocations.disconnect(settings, tenant, subject))
    echo(f"the sockets of {subject} are being closed")
