"""The commands say what is wrong in lines of their own, with exit code 1 and no traceback."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from synckairos import __version__
from synckairos.cli import main


def test_every_command_is_listed() -> None:
    told = CliRunner().invoke(main, ["--help"]).output
    for command in main.commands:
        assert f"\n  {command} " in told
    assert "..." not in told.partition("To try it:")[2], "each says its whole first sentence"


def test_every_option_says_what_it_is_for() -> None:
    def options(group: click.Group) -> Iterator[tuple[str, click.Option]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from options(command)
            yield from ((name, each) for each in command.params if isinstance(each, click.Option))

    assert [(name, option.name) for name, option in options(main) if not option.help] == []


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"synckairos, version {__version__}\n"


@pytest.mark.parametrize("command", ["dev", "serve", "worker", "migrate"])
def test_a_bad_setting_is_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOL_MAX", "many")
    result = CliRunner().invoke(main, [command])
    assert result.exit_code == 1
    assert result.output.startswith("DATABASE_POOL_MAX: ")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_beyond_loopback_must_be_said_aloud(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--host", "0.0.0.0"])
    assert result.exit_code == 1
    assert "--insecure" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("REDIS_URL=redis://:hidden@127.0.0.1:1/0", ["serve", "--port", "0"]),
        ("DATABASE_URL=postgresql://u:hidden@127.0.0.1:1/d", ["webhooks", "list"]),
    ],
)
def test_a_store_that_is_away_is_named_with_what_to_do(
    url: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = url.partition("=")
    monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    told = result.output.splitlines()[-1]
    assert told.startswith(f"{name}: ")
    assert len(result.output.splitlines()) == 1, "a pool's own warnings are left out"
    assert "synckairos doctor" in told
    assert "hidden" not in result.output


@pytest.mark.parametrize("command", ["webhooks list", "jobs list", "verify-audit --all"])
def test_a_database_without_its_schema_is_told_apart(
    command: str, bare_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", bare_database_url)
    result = CliRunner().invoke(main, command.split())
    assert (result.exit_code, result.output.splitlines()[-1]) == (
        1,
        "The database isn't up to date: run `synckairos migrate`",
    )


ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "command",
    ["migrate", f"verify-audit {ID}", "verify-audit --all", "jobs list", "jobs show 1", "jobs retry 1",
     f"jobs run archive {ID}", "jobs run export --from 2026-01-01 --to 2026-01-02 --wait", "webhooks list",
     "webhooks add https://example.com/told", f"webhooks test {ID}"],
)  # fmt: skip
def test_a_database_that_is_not_there_is_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, and why: a pool of connections would only say how long it waited."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/d")
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("DATABASE_URL: ")
    assert "Connection refused" in line
    assert "start it, or say where it is" in line
    assert "hidden" not in line


@pytest.mark.parametrize("command", ["serve --port 0", "audit failed", "audit retry --all"])
def test_a_store_that_is_not_there_is_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1:1")
    monkeypatch.setenv("SYNCKAIROS_REDIS_TIMEOUT_S", "0.2")
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 1
    line = result.output.splitlines()[-1]
    assert line.startswith("REDIS_URL: not connected to Redis: ")
    assert "refused" in line
    assert "start it, or say where it is" in line
    assert "hidden" not in result.output
