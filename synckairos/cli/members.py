"""Commands `synckairos members …`, which list, put, delete, import and reconcile members."""

from pathlib import Path
from typing import BinaryIO

import click

from synckairos.cli.command import (
    CommandGroup,
    json_option,
    load_command_settings,
    print_lines_with_progress,
    run_with_progress,
    tenant_option,
)
from synckairos.cli.escaped_echo import echo
from synckairos.cli.jobs import enqueue_job

_tenant_option = tenant_option("the members")
_RESOURCE_HELP = "RESOURCE is a session id, or label:KEY=VALUE for all sessions with this label."


@click.group(cls=CommandGroup)
def members() -> None:
    """List, put, delete, import and reconcile members: roles of subjects on sessions and labels."""


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


@members.command("delete", help=f"Remove the role of SUBJECT on RESOURCE.\n\n{_RESOURCE_HELP}")
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


@members.command("reconcile")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--url", "is_from_url", is_flag=True, help="Let a worker read the list at SYNCKAIROS_MEMBERS_URL.")
@_tenant_option
@click.option(
    "--max-removed",
    "max_removed_percent",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="Maximum share of the members that may be removed. Default: SYNCKAIROS_MEMBERS_MAX_REMOVED_PERCENT.",
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Only print what would change. Not with --url.")
@click.option("--wait", is_flag=True, help="Wait until the job of --url ends. Exits 1 if it failed.")
def members_reconcile(
    file: BinaryIO | None,
    is_from_url: bool,
    tenant: str,
    max_removed_percent: int | None,
    is_dry_run: bool,
    wait: bool,
) -> None:
    """Make the members of a tenant equal to the list in FILE, or to the list at a URL. FILE can be - for the input.

    The list has one JSON object with subject, resource and role on each line. Members that are not in it are removed.
    """
    if is_from_url == (file is not None) or (is_from_url and is_dry_run) or (wait and not is_from_url):
        raise click.UsageError("Give FILE, optionally with --dry-run, or --url, optionally with --wait.")
    if file is None:
        params = {} if max_removed_percent is None else {"max_removed_percent": max_removed_percent}
        enqueue_job("reconcile-members", params, tenant, wait)
        return
    settings = load_command_settings()
    from synckairos.admin.member_reconciliation import reconcile_members_with_file

    reconciling = reconcile_members_with_file(settings, tenant, file, max_removed_percent, is_dry_run=is_dry_run)
    echo("\n".join(run_with_progress("reconciling the members", reconciling)))
