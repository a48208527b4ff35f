"""Commands `synckairos session …`, which show a session of a running server."""

import sys
from uuid import UUID

import click

from synckairos.cli.command import CommandGroup, run, run_until_signal


@click.group(cls=CommandGroup)
def session() -> None:
    """Show a session of a running server."""


@session.command("watch")
@click.argument("session_id", metavar="ID", type=click.UUID)
@click.option("--url", default="ws://127.0.0.1:3000/ws", show_default=True, help="URL of the server.")
def session_watch(session_id: UUID, url: str) -> None:
    """Show the running clocks of session ID until it ends or Ctrl-C is pressed."""
    from synckairos.client import terminal_watch
    from synckairos.client.server_url import socket_url

    try:
        url = socket_url(url)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--url") from None
    run(run_until_signal(terminal_watch.show(url, str(session_id), sys.stdout)))
