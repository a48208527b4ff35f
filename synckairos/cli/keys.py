"""Commands `synckairos keys …`, which make, list, rotate and revoke API keys."""

import click

from synckairos.cli.command import CommandGroup, json_option, load_command_settings, run_with_progress, tenant_option
from synckairos.cli.escaped_echo import echo

_tenant_option = tenant_option("the keys")


@click.group(cls=CommandGroup)
def keys() -> None:
    """Make, list, rotate and revoke API keys."""


@keys.command("create")
@click.option("--role", required=True, metavar="ROLE", help="Highest role: viewer, participant, controller or admin.")
@click.option("--label", metavar="TEXT", help="Text that describes the key in lists.")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    metavar="SESSIONS[@ROLE]",
    help="Sessions that the bearer can reach: an id, label:KEY=VALUE or '*'; repeatable.",
)
@click.option("--participant", "participant_id", metavar="UUID", help="Participant as which the bearer acts.")
@click.option("--expires-at", metavar="INSTANT", help="Instant with a time zone, or UTC day. Default: no expiry.")
@_tenant_option
def keys_create(
    role: str,
    label: str | None,
    grants: tuple[str, ...],
    participant_id: str | None,
    expires_at: str | None,
    tenant: str,
) -> None:
    """Make an API key and print it. It cannot be printed again."""
    settings = load_command_settings()
    from synckairos.admin import api_keys

    given = {"role": role, "label": label, "participant_id": participant_id}
    members = {name: value for name, value in given.items() if value is not None}
    made = api_keys.create_key(settings, tenant, members, grants, expires_at)
    click.echo(run_with_progress("making the key", made))


@keys.command("list")
@_tenant_option
@json_option("item")
def keys_list(tenant: str, as_json: bool) -> None:
    """List the valid API keys, newest first."""
    settings = load_command_settings()
    from synckairos.admin import api_keys

    lines = run_with_progress("reading the keys", api_keys.list_keys(settings, tenant, as_json=as_json))
    echo("\n".join(lines) if lines else "no keys", err=not lines)


@keys.command("rotate")
@click.argument("key_id")
@_tenant_option
def keys_rotate(key_id: str, tenant: str) -> None:
    """Give the key KEY_ID a new secret and print it. The previous secret stays valid for 24 hours."""
    settings = load_command_settings()
    from synckairos.admin import api_keys

    click.echo(run_with_progress("rotating the key", api_keys.rotate_key(settings, tenant, key_id)))


@keys.command("revoke")
@click.argument("key_id")
@_tenant_option
def keys_revoke(key_id: str, tenant: str) -> None:
    """Revoke the key KEY_ID and all credentials that it made. Their sockets end."""
    _revoke(key_id, tenant)


@keys.command("delete", hidden=True)  # the name in earlier releases
@click.argument("key_id")
@_tenant_option
def keys_delete(key_id: str, tenant: str) -> None:
    """Revoke the key KEY_ID. Use `keys revoke`."""
    _revoke(key_id, tenant)


def _revoke(key_id: str, tenant: str) -> None:
    settings = load_command_settings()
    from synckairos.admin import api_keys

    run_with_progress("revoking the key", api_keys.revoke_key(settings, tenant, key_id))
    echo(f"the key {key_id} is revoked")
