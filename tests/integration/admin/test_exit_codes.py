"""Exit codes: a real process for each code of the table, and the same code for the same fault in all commands."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner

from synckairos.cli import main
from synckairos.cli.exit_codes import ExitCode
from synckairos.config import Settings
from tests.processes import Process

ID = "00000000-0000-4000-8000-000000000000"
EXAMPLE = Path("docs/guides/examples/chess-10-3.json").resolve()
POSTGRES_COMMANDS = [
    *("migrate", "verify-audit --all", f"verify-audit {ID}", "jobs list", "jobs show 1", "jobs retry 1"),
    *("jobs run archive", "jobs run retention --after 1", "jobs run export --from 2026-01-01 --to 2026-01-02"),
    *("webhooks list", "webhooks add https://example.com/hook", f"webhooks remove {ID}", f"webhooks rotate {ID}"),
    *(f"webhooks deliveries {ID}", f"webhooks test {ID}"),
]
READING_COMMANDS = [each for each in POSTGRES_COMMANDS if each != "migrate"]


def run_shell(command: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a line of bash in which `synckairos` is this product."""
    line = f'set -o pipefail; synckairos() {{ "{sys.executable}" -m synckairos "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", line], env={**os.environ, **(env or {})}, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"synckairos simulate {EXAMPLE}", ExitCode.OK),
        ("synckairos simulate missing.json", ExitCode.USAGE),
        ("synckairos simulate /", ExitCode.USAGE),
        ("synckairos simulate - < /dev/null", ExitCode.USAGE),
        ("synckairos simulate - < /dev/zero", ExitCode.USAGE),
        ("synckairos serve --host 'no host' --insecure", ExitCode.SETTINGS),
        ("synckairos serve --host 192.0.2.1 --insecure", ExitCode.SETTINGS),
        (f"synckairos simulate {EXAMPLE} > /dev/full", ExitCode.SYSTEM),
        (f"synckairos simulate {EXAMPLE} | true", ExitCode.OUTPUT_CLOSED),
        ("synckairos --help >&-", ExitCode.OK),
    ],
)
def test_command_exits_with_the_code_of_its_end(command: str, code: ExitCode) -> None:
    done = run_shell(command)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_closed_output_does_not_abort_a_command_with_a_store(settings: Settings) -> None:
    done = run_shell("synckairos audit failed >&-", settings.to_environment_variables())
    assert (done.returncode, done.stderr) == (ExitCode.OK, "no entries were set aside\n")


def test_unexpected_error_exits_with_the_code_of_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: bytes, **options: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr("synckairos.admin.simulation_text.decode_json", fail)
    result = CliRunner().invoke(main, ["simulate", str(EXAMPLE)])
    assert result.exit_code == ExitCode.BUG
    assert "Please report it" in result.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_signal_ends_a_waiting_command_with_its_code(settings: Settings, number: signal.Signals, code: int) -> None:
    with psycopg.connect(settings.database_url, autocommit=True) as database:
        process = Process("jobs", "run", "archive", "--wait", env=settings.to_environment_variables())
        try:
            while not database.execute("SELECT 1 FROM background_jobs").fetchone():
                assert process.child.returncode is None, process.output
            os.kill(process.pid, number)
            assert process.wait_end() == code
        finally:
            process.kill()
    assert "Traceback" not in process.output, process.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_that_is_stopped_while_it_starts_ends_normally(number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        process = Process("serve", "--port", "0", env={"REDIS_URL": url, "SYNCKAIROS_REDIS_TIMEOUT_S": "60"})
        try:
            silent.accept()[0].close()
            connection, _ = silent.accept()  # the server waits for an answer of Redis
            process.send(number)
            assert process.wait_end() == ExitCode.OK
            connection.close()
        finally:
            process.kill()
    assert process.output == ""


def test_env_file_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\n")
    process = Process("dev", "--port", "0", cwd=tmp_path)
    assert (process.wait_end(), process.output) == (ExitCode.SETTINGS, ".env: should be UTF-8\n")


# A look-up of the name `no host` fails without a request to a name server, which takes 10 s on a machine without one.
def test_unreachable_database_has_one_code_in_every_command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = urlsplit(database_url)
    for wrong in (
        "postgresql://no%20host/synckairos",
        parts._replace(path="/nothing").geturl(),
        database_url.replace(f"{parts.username}@", "stranger@", 1),
    ):
        monkeypatch.setenv("DATABASE_URL", wrong)
        assert all(line.startswith("DATABASE_URL: ") for line in unavailable_lines(POSTGRES_COMMANDS))


def test_missing_privilege_has_one_code_in_every_command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with role_without_privileges(database_url) as weak:
        monkeypatch.setenv("DATABASE_URL", weak)
        assert all("permission denied" in line for line in unavailable_lines(POSTGRES_COMMANDS))


def test_database_that_is_not_migrated_has_one_code_in_every_command(
    bare_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", bare_database_url)
    lines = unavailable_lines([*READING_COMMANDS, "import-v2 --finish"])
    assert set(lines) == {"The database is not up to date: run `synckairos migrate`"}


def test_migrate_of_a_read_only_database_is_one_line(bare_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = urlsplit(bare_database_url).path.lstrip("/")
    with psycopg.connect(bare_database_url, autocommit=True) as database:
        database.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
    monkeypatch.setenv("DATABASE_URL", bare_database_url)
    (line,) = unavailable_lines(["migrate"])
    assert "read-only transaction" in line


def test_unreachable_redis_has_one_code_in_every_command(
    serve_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCKAIROS_REDIS_TIMEOUT_S", "0.5")
    for wrong in ("redis://no%20host", f"redis://{urlsplit(serve_process.base_url).netloc}"):
        monkeypatch.setenv("REDIS_URL", wrong)
        for line in unavailable_lines(["audit failed", "audit retry --all", "serve --port 0"]):
            assert line.startswith("REDIS_URL: ")
            assert f"({wrong})" in line


def unavailable_lines(commands: Sequence[str]) -> list[str]:
    """Run commands without their stores. Return the line that each command prints."""
    lines = []
    for command in commands:
        result = CliRunner().invoke(main, command.split())
        assert (result.exit_code, result.stdout) == (ExitCode.UNAVAILABLE, ""), (command, result.output)
        (line,) = result.stderr.splitlines()
        lines.append(line)
    return lines


@contextmanager
def role_without_privileges(database_url: str) -> Iterator[str]:
    """Create a role that is only allowed to connect, and drop it at the end.

    Yield the URL of the database with this role.
    """
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("CREATE ROLE weak LOGIN")
        try:
            yield database_url.replace(f"{urlsplit(database_url).username}@", "weak@", 1)
        finally:
            database.execute("DROP ROLE weak")
