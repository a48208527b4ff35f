"""Output of commands on the operator's terminal. Texts of callers cannot control the terminal."""

import click

from synckairos.telemetry.log import escape_control_characters


def echo(text: str, *, err: bool = False, colour: str | None = None) -> None:
    """Print a text and a final line feed on stdout, or on stderr if `err` is True.

    Characters that are not printable are replaced by their JSON escapes, such as `\\u001b`. Line feeds and tabs in
    `text` stay, so a text can have several lines. `colour` is the name of a click colour for the text on a terminal.
    """
    escaped = escape_control_characters(text)
    click.echo(click.style(escaped, fg=colour) if colour else escaped, err=err)
