"""The production processes start, print what they do, and stop cleanly on SIGTERM."""

import signal
import socket
from urllib.request import urlopen

from synckairos.cli.exit_codes import ExitCode
from synckairos.config import Settings
from tests.processes import Process, spawn_server


def test_server_prints_its_url_and_stops_on_sigterm(serve_process: Process) -> None:
    with urlopen(serve_process.base_url + "/health") as answer:
        assert answer.status == 200
    serve_process.send(signal.SIGTERM)
    assert serve_process.wait_end() == 0
    assert "Traceback" not in serve_process.output


def test_server_keeps_serving_after_another_on_its_store_was_killed(settings: Settings, serve_process: Process) -> None:
    other = spawn_server(settings)
    assert other.kill() == -signal.SIGKILL
    with urlopen(serve_process.base_url + "/health") as answer:
        assert answer.status == 200


def test_taken_port_is_refused_without_a_traceback(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process("serve", "--port", str(port), env=settings.to_environment_variables())
        assert process.wait_end() == ExitCode.SETTINGS
    assert f"Port {port} is taken" in process.output
    assert "Traceback" not in process.output


def test_migrate_prints_applied_migrations_and_a_second_run_applies_none(
    settings: Settings, bare_database_url: str
) -> None:
    env = {**settings.to_environment_variables(), "SYNCKAIROS_DATABASE_URL": bare_database_url}
    first = Process("migrate", env=env)
    assert first.wait_end() == 0
    assert first.output.startswith("applied 0001_")
    second = Process("migrate", env=env)
    assert second.wait_end() == 0
    assert second.output == "no migrations to apply\n"


def test_doctor_exits_1_if_a_check_fails(settings: Settings) -> None:
    healthy = Process("doctor", env=settings.to_environment_variables())
    assert healthy.wait_end() == 0
    faulty = Process(
        "doctor", env={**settings.to_environment_variables(), "SYNCKAIROS_REDIS_URL": "redis://127.0.0.1:1/0"}
    )
    assert faulty.wait_end() == 1
    assert "BAD  redis: redis://127.0.0.1:1/0" in faulty.output
    assert "-> start it" in faulty.output
