"""The page of commands has the table of exit codes, and names every command with `--json`."""

from collections.abc import Iterator

import click

from synckairos.cli import main
from synckairos.cli.exit_codes import exit_code_rows
from tests.unit.docs.pages import read_page

PAGE = read_page("commands.md")


def test_page_has_the_table_of_exit_codes() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert rows == [f"| {code} | {meaning.replace('|', chr(92) + '|')} |" for code, meaning in exit_code_rows()]


def test_page_names_every_command_that_prints_json() -> None:
    def with_json(group: click.Group, prefix: str) -> Iterator[str]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from with_json(command, f"{prefix}{name} ")
            elif any("--json" in each.opts for each in command.params):
                yield f"{prefix}{name}"

    for command in with_json(main, ""):
        assert f"`{command}`" in PAGE or f"`{command} --json`" in PAGE
