"""Command `synckairos session watch`, which shows a session of a running server, live."""

import sys
from uuid import UUID

import click

from synckairos.cli.command import CommandGroup, configured_server_url, run, run_until_signal
from synckairos.cli.progress import show_progress


@click.group(cls=CommandGroup)
def session() -> None:
    """Show a session of a running server."""


@session.command("watch")
@click.argument("session_id", metavar="ID", type=click.UUID)
@click.option(
    "--url", help="URL of the server. Default: http://127.0.0.1:3000, or the port and host of the SYNCKAIROS variables."
)
@click.option("--token", envvar="SYNCKAIROS_TOKEN", help="Token for a server with authentication.", show_envvar=True)
def session_watch(session_id: UUID, url: str | None, token: str | None) -> None:
    """Show the running clocks of session ID until it ends or Ctrl-C is pressed."""
    from synckairos.admin.session_watch import show_session
    from synckairos_client.server_url import socket_url

    try:
        url = socket_url(configured_server_url() if url is None else url)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--url") from None
    with show_progress(f"connecting to {url}") as display:
        watching = show_session(url, str(session_id), sys.stdout, display.close, token)
        run(run_until_signal(watching))
