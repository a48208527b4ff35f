"""Commands `synckairos links …`, which make, list and revoke links to sessions, and `synckairos console`."""

from collections.abc import Callable
from uuid import UUID

import click

from synckairos.cli.command import (
    CommandGroup,
    Decorated,
    configured_server_url,
    json_option,
    load_command_settings,
    run_with_progress,
    tenant_option,
)
from synckairos.cli.escaped_echo import echo

_tenant_option = tenant_option("the links")


def _url_option(command: Decorated) -> Decorated:
    text = "URL under which the device of the bearer reaches the server. Default: that of the settings."
    return click.option("--url", metavar="URL", callback=_parse_url, help=text)(command)


def _qr_option(command: Decorated) -> Decorated:
    return click.option("--qr", "shows_qr", is_flag=True, help="Also print the QR code of the link.")(command)


def _parse_url(_: click.Context, __: click.Parameter, url: str | None) -> str:
    url = configured_server_url() if url is None else url
    if not url.startswith(("http://", "https://")) or any(each in url for each in "?# "):
        raise click.BadParameter(f"{url!r} is no URL of a server, such as https://clock.example.org")
    return url.rstrip("/")


@click.group(cls=CommandGroup)
def links() -> None:
    """Make, list and revoke links to sessions."""


@links.command("create")
@click.option("--session", "session_id", required=True, metavar="ID", type=click.UUID, help="Session of the link.")
@click.option("--role", required=True, metavar="ROLE", help="Role on the session: viewer, participant or controller.")
@click.option("--participant", "participant_id", metavar="UUID", help="Participant as which the bearers act.")
@click.option("--expires-at", metavar="INSTANT", help="Instant with a time zone, or UTC day. Default: in 24 hours.")
@click.option("--max-uses", metavar="NUMBER", type=int, help="Maximum number of devices. Default: 100,000.")
@click.option("--label", metavar="TEXT", help="Text that describes the link in lists.")
@_tenant_option
@_url_option
@_qr_option
def links_create(
    session_id: UUID,
    role: str,
    participant_id: str | None,
    expires_at: str | None,
    max_uses: int | None,
    label: str | None,
    tenant: str,
    url: str,
    shows_qr: bool,
) -> None:
    """Make a link and print it. It cannot be printed again."""
    settings = load_command_settings()
    from synckairos.admin import links

    given = {"role": role, "participant_id": participant_id, "max_uses": max_uses, "label": label}
    members = {"session_id": str(session_id)} | {name: value for name, value in given.items() if value is not None}
    made = links.create_link(settings, tenant, url, members, expires_at)
    _print(run_with_progress("making the link", made), shows_qr, links.render_qr_code)


@links.command("list")
@click.option("--session", "session_id", metavar="ID", type=click.UUID, help="Only links to this session.")
@_tenant_option
@json_option("item")
def links_list(session_id: UUID | None, tenant: str, as_json: bool) -> None:
    """List the valid links, newest first."""
    settings = load_command_settings()
    from synckairos.admin import links

    found = links.list_links(settings, tenant, None if session_id is None else str(session_id), as_json=as_json)
    lines = run_with_progress("reading the links", found)
    echo("\n".join(lines) if lines else "no links", err=not lines)


@links.command("revoke")
@click.argument("link_id")
@_tenant_option
def links_revoke(link_id: str, tenant: str) -> None:
    """Revoke the link LINK_ID and its session tokens. Their sockets end."""
    settings = load_command_settings()
    from synckairos.admin import links

    run_with_progress("revoking the link", links.revoke_link(settings, tenant, link_id))
    echo(f"the link {link_id} is revoked")


@click.command("console")
@tenant_option("the administrator")
@_url_option
@_qr_option
def console(tenant: str, url: str, shows_qr: bool) -> None:
    """Print a link that signs one browser in as an administrator. It can be used once, within 10 minutes."""
    settings = load_command_settings()
    from synckairos.admin import links

    made = run_with_progress("making the link", links.create_sign_in_link(settings, tenant, url))
    _print(made, shows_qr, links.render_qr_code)


def _print(url: str, shows_qr: bool, render_qr_code: Callable[[str], str]) -> None:
    click.echo(url)
    if shows_qr:
        click.echo(render_qr_code(url))
