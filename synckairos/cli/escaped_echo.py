"""Output of commands on the operator's terminal. Texts of callers cannot control the terminal."""

import click

from synckairos.telemetry.log import escape_control_characters


def echo(text: str, *, err: bool = False) -> None:
    """Print a text with a line feed on stdout, or on stderr, with visible control characters."""
    click.echo(escape_control_characters(text), err=err)
