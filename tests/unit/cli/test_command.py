"""Help of all commands, and errors: each error is one clear line without a traceback and without a password."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from synckairos import __version__
from synckairos.cli import main
from synckairos.cli.exit_codes import ExitCode


def test_help_lists_every_command_with_its_whole_first_sentence() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    for command in main.commands:
        assert f"\n  {command} " in text
    assert "..." not in text.partition("To try the product:")[2]


def test_help_lists_no_earlier_names_of_commands() -> None:
    text = CliRunner().invoke(main, ["keys", "--help"]).output
    assert "\n  revoke " in text
    assert "\n  delete " not in text


def test_help_ends_with_the_table_of_exit_codes() -> None:
    table = CliRunner().invoke(main, ["--help"]).output.partition("Exit codes:\n")[2]
    assert [line.split()[0] for line in table.splitlines() if line[2:3].isdigit()] == [str(int(c)) for c in ExitCode]


def test_every_option_has_a_help_text() -> None:
    def options(group: click.Group) -> Iterator[tuple[str, click.Option]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from options(command)
            yield from ((name, each) for each in command.params if isinstance(each, click.Option))

    assert [(name, option.name) for name, option in options(main) if not option.help] == []


def test_version_option_prints_the_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"synckairos, version {__version__}\n"


@pytest.mark.parametrize("command", ["dev", "serve", "worker", "migrate"])
def test_invalid_setting_is_reported_in_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOL_MAX", "many")
    result = CliRunner().invoke(main, [command])
    assert result.exit_code == ExitCode.SETTINGS
    assert result.output.startswith("DATABASE_POOL_MAX: ")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    ["jobs run archive", "jobs run retention --after 1", "webhooks list", "keys list", "links list", "console"],
)
def test_text_that_is_no_name_of_a_tenant_is_a_usage_error(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--tenant", "A"])
    assert result.exit_code == ExitCode.USAGE
    assert "Invalid value for '--tenant': " in result.output


@pytest.mark.parametrize(
    "command",
    [
        *("verify-audit banana", "session watch banana", "audit retry banana", "audit retry 5"),
        *("jobs show banana", "jobs retry banana", "jobs run archive banana", "jobs run retention banana"),
        *(f"webhooks {name} banana" for name in ("remove", "rotate", "deliveries", "test")),
    ],
)
def test_argument_that_is_no_id_is_an_error_of_usage(command: str) -> None:
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == ExitCode.USAGE
    assert command.rpartition(" ")[2] in result.output
    assert "Usage: main" in result.output


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_non_loopback_address_without_insecure_is_refused(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--host", "0.0.0.0"])
    assert result.exit_code == ExitCode.SETTINGS
    assert "--insecure" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("REDIS_URL=redis://:hidden@127.0.0.1:1/0", ["serve", "--port", "0"]),
        ("DATABASE_URL=postgresql://u:hidden@127.0.0.1:1/d", ["webhooks", "list"]),
    ],
)
def test_unreachable_store_is_reported_by_its_setting_and_a_remedy(
    variable: str, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == ExitCode.UNAVAILABLE
    line = result.output.splitlines()[-1]
    assert line.startswith(f"{name}: ")
    assert len(result.output.splitlines()) == 1, "warnings of a connection pool must not be shown"
    assert "synckairos doctor" in line
    assert "hidden" not in result.output


@pytest.mark.parametrize("command", ["webhooks list", "jobs list", "verify-audit --all"])
def test_database_without_its_schema_is_reported_with_the_command_to_run(
    command: str, bare_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", bare_database_url)
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert result.output.splitlines()[-1] == "The database is not up to date: run `synckairos migrate`"


ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "command",
    ["migrate", f"verify-audit {ID}", "verify-audit --all", "jobs list", "jobs show 1", "jobs retry 1",
     f"jobs run archive {ID}", "jobs run export --from 2026-01-01 --to 2026-01-02 --wait", "webhooks list",
     "webhooks add https://example.com/hook", f"webhooks test {ID}"],
)  # fmt: skip
def test_refused_connection_to_postgres_is_reported_in_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line must have the reason of the first attempt. A connection pool would only report that it waited."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hidden@127.0.0.1:1/d")
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == ExitCode.UNAVAILABLE
    (line,) = result.output.splitlines()
    assert line.startswith("DATABASE_URL: ")
    assert "Connection refused" in line
    assert "start the store, or correct the setting" in line
    assert "hidden" not in line


@pytest.mark.parametrize("command", ["serve --port 0", "audit failed", "audit retry --all"])
def test_refused_connection_to_redis_is_reported_in_one_line(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1:1")
    monkeypatch.setenv("SYNCKAIROS_REDIS_TIMEOUT_S", "0.2")
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == ExitCode.UNAVAILABLE
    line = result.output.splitlines()[-1]
    assert line.startswith("REDIS_URL: not connected to Redis: ")
    assert "refused (redis://:***@127.0.0.1:1)" in line
    assert "start the store, or correct the setting" in line
    assert "hidden" not in result.output
