"""Commands `synckairos tenants …` and `synckairos operator-keys …`, for operators."""

from typing import Any

import click

from synckairos.cli.command import CommandGroup, json_option, load_command_settings, run, run_with_progress
from synckairos.cli.escaped_echo import echo
from synckairos.cli.progress import show_progress


@click.group(cls=CommandGroup)
def tenants() -> None:
    """Create, change, suspend, delete and list tenants."""


_as_json = json_option("tenant")
_limit = click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="Limit such as sockets=500. Repeat it for more.",
)
_origin = click.option(
    "--origin", "origins", multiple=True, metavar="ORIGIN", help="Origin of web pages. Repeat it for each origin."
)


@tenants.command("create")
@click.argument("name")
@click.option("--description", metavar="TEXT", default="", help="Free text.")
@_limit
@_origin
def tenants_create(name: str, description: str, limits: tuple[str, ...], origins: tuple[str, ...]) -> None:
    """Create the tenant NAME. Limits that are not given have their defaults."""
    settings = load_command_settings()
    from synckairos.admin import tenants

    fields: dict[str, Any] = {"tenant": name, "description": description}
    fields |= {"limits": tenants.parse_limits(limits)} if limits else {}
    fields |= {"origins": list(origins)} if origins else {}
    echo("\n".join(run_with_progress("creating the tenant", tenants.create_tenant(settings, fields))))


@tenants.command("list")
@_as_json
def tenants_list(as_json: bool) -> None:
    """List the tenants, newest first."""
    settings = load_command_settings()
    from synckairos.admin import tenants

    lines = run_with_progress("reading the tenants", tenants.list_tenants(settings, as_json=as_json))
    echo("\n".join(lines) if lines else "no tenants", err=not lines)


@tenants.command("show")
@click.argument("name")
@_as_json
def tenants_show(name: str, as_json: bool) -> None:
    """Show the fields and the limits of the tenant NAME. Exits 1 if there is no such tenant."""
    settings = load_command_settings()
    from synckairos.admin import tenants

    echo("\n".join(run_with_progress("reading the tenant", tenants.show_tenant(settings, name, as_json=as_json))))


@tenants.command("update")
@click.argument("name")
@click.option("--description", metavar="TEXT", help="Free text.")
@_limit
@_origin
@click.option("--default-origins", is_flag=True, help="Use the origins of the setting again.")
def tenants_update(
    name: str, description: str | None, limits: tuple[str, ...], origins: tuple[str, ...], default_origins: bool
) -> None:
    """Change the tenant NAME. A limit with the value `default` gets its default again."""
    if origins and default_origins:
        raise click.UsageError("Give --origin or --default-origins")
    settings = load_command_settings()
    from synckairos.admin import tenants

    fields: dict[str, Any] = {} if description is None else {"description": description}
    fields |= {"limits": tenants.parse_limits(limits)} if limits else {}
    fields |= {"origins": list(origins) or None} if origins or default_origins else {}
    echo("\n".join(run_with_progress("changing the tenant", tenants.update_tenant(settings, name, fields))))


@tenants.command("suspend")
@click.argument("name")
def tenants_suspend(name: str) -> None:
    """Refuse the credentials of the tenant NAME on all instances, and close its sockets."""
    settings = load_command_settings()
    from synckairos.admin import tenants

    suspended = tenants.set_tenant_status(settings, name, "suspended")
    echo("\n".join(run_with_progress("suspending the tenant", suspended)))


@tenants.command("activate")
@click.argument("name")
def tenants_activate(name: str) -> None:
    """Accept the credentials of the suspended tenant NAME again."""
    settings = load_command_settings()
    from synckairos.admin import tenants

    activated = tenants.set_tenant_status(settings, name, "active")
    echo("\n".join(run_with_progress("activating the tenant", activated)))


@tenants.command("delete")
@click.argument("name")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask for a confirmation.")
@click.option("--wait", is_flag=True, help="Wait until a worker has deleted all data.")
def tenants_delete(name: str, is_confirmed: bool, wait: bool) -> None:
    """Delete the tenant NAME and all its data. Its credentials are refused at once, and its name stays refused."""
    if not is_confirmed:
        click.confirm(f"Delete tenant {name} with all its sessions, archives and credentials?", abort=True)
    settings = load_command_settings()
    from synckairos.admin import tenants

    lines = run_with_progress("closing the tenant", tenants.delete_tenant(settings, name))
    if wait:
        with show_progress("deleting the data") as display:
            lines = run(tenants.wait_for_deletion(settings, name, display))
    echo("\n".join(lines))


@click.group("operator-keys", cls=CommandGroup)
def operator_keys() -> None:
    """Make, list and revoke keys of operators, which administer tenants over REST."""


@operator_keys.command("create")
@click.option("--label", metavar="TEXT", default="", help="Free text that says who has the key.")
@click.option("--days", metavar="DAYS", type=click.IntRange(1, 3650), help="Days until the key expires.")
def operator_keys_create(label: str, days: int | None) -> None:
    """Print a new key. The key is shown only once."""
    settings = load_command_settings()
    from synckairos.admin import operator_keys

    made = operator_keys.make_operator_key(settings, label, None if days is None else days * 86_400)
    echo(run_with_progress("making the key", made))


@operator_keys.command("list")
def operator_keys_list() -> None:
    """List the keys without their secrets, newest first."""
    settings = load_command_settings()
    from synckairos.admin import operator_keys

    lines = run_with_progress("reading the keys", operator_keys.list_operator_keys(settings))
    echo("\n".join(lines) if lines else "no operator keys", err=not lines)


@operator_keys.command("revoke")
@click.argument("key_id", metavar="ID")
def operator_keys_revoke(key_id: str) -> None:
    """Revoke the key ID. All instances refuse it at once. Exits 1 if there is no such key."""
    settings = load_command_settings()
    from synckairos.admin import operator_keys

    run_with_progress("revoking the key", operator_keys.revoke_operator_key(settings, key_id))
    echo(f"the key {key_id} is revoked")
