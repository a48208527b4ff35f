"""For whoever builds on it: play a session through without a store, and watch one live."""

import sys
from typing import BinaryIO
from uuid import UUID

import click

from synckairos.cli.command import Group, run, run_until_signal


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the `data` of what POST /v1/simulate answers.")
def simulate(file: BinaryIO, as_json: bool) -> None:
    """Play a session through without a store: FILE holds what POST /v1/simulate takes; - reads standard input."""
    from synckairos.admin import simulate

    for line in simulate.timeline_lines(file.read(), as_json=as_json):
        click.echo(line)


@click.group(cls=Group)
def session() -> None:
    """Look at one session."""


@session.command("watch")
@click.argument("session_id", metavar="ID", type=click.UUID)
@click.option("--url", default="ws://127.0.0.1:3000/ws", show_default=True, help="The server's address.")
def session_watch(session_id: UUID, url: str) -> None:
    """Show the clocks of session ID, live, until it ends or Ctrl-C."""
    from synckairos.client import terminal
    from synckairos.client.server_url import socket_url

    try:
        url = socket_url(url)
    except ValueError as fault:
        raise click.BadParameter(str(fault), param_hint="--url") from None
    run(run_until_signal(terminal.show(url, str(session_id), sys.stdout)))
