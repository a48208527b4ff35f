"""Output of commands on the operator's terminal. Texts of callers cannot control the terminal."""

import click

from synckairos.telemetry.log import escape_control_characters


def echo(text: str, *, err: bool = False, colour: str | None = None) -> None:
    """Print a text with a line feed on stdout, or on stderr, with visible control characters.

    `colour` is the colour of the text on a terminal, by click's name.
    """
    escaped = escape_control_characters(text)
    click.echo(click.style(escaped, fg=colour) if colour else escaped, err=err)
