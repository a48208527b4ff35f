"""Commands `synckairos members …`, which list, put, delete and import members."""

from pathlib import Path

import click

from synckairos.cli.command import (
    CommandGroup,
    json_option,
    load_command_settings,
    print_lines_with_progress,
    run_with_progress,
)
from synckairos.cli.escaped_echo import echo

_tenant_option = click.option(
    "--tenant", default="default", show_default=True, metavar="NAME", help="Tenant of the members."
)
_RESOURCE_HELP = "RESOURCE is a session id, or label:KEY=VALUE for all sessions with this label."


@click.group(cls=CommandGroup)
def members() -> None:
    """List, put, delete and import members: roles of subjects on sessions and labels."""


@members.command("list")
@click.option("--subject", metavar="SUBJECT", help="Only the members of this subject.")
@click.option("--resource", metavar="RESOURCE", help="Only the members of this session id or label:KEY=VALUE.")
@_tenant_option
@json_option("item")
def members_list(subject: str | None, resource: str | None, tenant: str, as_json: bool) -> None:
    """List the members of a tenant, by subject and resource."""
    settings = load_command_settings()
    from synckairos.admin import members as admin

    filters = {name: value for name, value in (("subject", subject), ("resource", resource)) if value is not None}
    print_lines_with_progress(
        "reading the members",
        lambda _: admin.list_members(settings, tenant, filters, as_json=as_json),
        empty="no members",
    )


@members.command("put", help=f"Give SUBJECT the role ROLE on RESOURCE.\n\n{_RESOURCE_HELP}")
@click.argument("subject")
@click.argument("resource")
@click.argument("role")
@_tenant_option
def members_put(subject: str, resource: str, role: str, tenant: str) -> None:
    settings = load_command_settings()
    from synckairos.admin import members as admin

    row = {"subject": subject, "resource": resource, "role": role}
    run_with_progress("putting the member", admin.put_member(settings, tenant, row))
    echo(f"{subject} has the role {role} on {resource}")


@members.command("delete", help=f"Take the role on RESOURCE from SUBJECT.\n\n{_RESOURCE_HELP}")
@click.argument("subject")
@click.argument("resource")
@_tenant_option
def members_delete(subject: str, resource: str, tenant: str) -> None:
    settings = load_command_settings()
    from synckairos.admin import members as admin

    row = {"subject": subject, "resource": resource}
    run_with_progress("deleting the member", admin.delete_member(settings, tenant, row))
    echo(f"{subject} has no role on {resource} as a member")


@members.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_tenant_option
def members_import(file: Path, tenant: str) -> None:
    """Put the members in FILE: one JSON object with subject, resource and role on each line.

    Members that are not in FILE stay.
    """
    settings = load_command_settings()
    from synckairos.admin import members as admin

    count = run_with_progress("putting the members", admin.import_members(settings, tenant, file))
    echo(f"{count} members have their role")
