"""`synckairos dev` starts all processes, and stops all of them for each way in which it can end."""

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest
import redis

from synckairos.cli.exit_codes import ExitCode
from tests.processes import Process, is_running

NIL = "00000000-0000-4000-8000-000000000000"

StartDev = Callable[..., Process]


@pytest.fixture
def start_dev(tmp_path: Path) -> Iterator[StartDev]:
    """Return a function that starts `dev` on a free port, in an empty directory without an .env file."""
    started: list[Process] = []

    def start(*args: str, env: dict[str, str] | None = None) -> Process:
        started.append(Process("dev", "--port", "0", *args, env=env, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def banner(process: Process) -> dict[str, str]:
    """Return the rows of the banner's table, and the exported variables under the name `export`."""
    rows = (line.split(maxsplit=1) for line in process.output.splitlines() if line.startswith("  "))
    return {name: value.split(" (")[0].strip() for name, value in rows}


def descendants(pid: int) -> set[int]:
    """Return the processes that `pid` started, and their descendants."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found: set[int] = set()
    latest = {pid}
    while latest:
        latest = {child for child, parent in parents.items() if parent in latest} - found
        found |= latest
    return found


def wait_for_end(pids: set[int]) -> None:
    names = [f"--pid={pid}" for pid in pids]
    subprocess.run(["tail", *names, "-s", "0.05", "-f", "/dev/null"], timeout=30, check=True)


@pytest.mark.parametrize(("number", "root_path"), [(signal.SIGINT, ""), (signal.SIGTERM, "/clock")])
def test_dev_serves_the_urls_of_its_banner_and_stops_within_ten_seconds(
    number: signal.Signals, root_path: str, start_dev: StartDev
) -> None:
    process = start_dev(env={"SYNCKAIROS_ROOT_PATH": root_path}).wait_ready()
    assert urlsplit(process.base_url).path == root_path
    addresses = banner(process)
    with urlopen(addresses["http"] + "/health") as answer:
        assert answer.status == 200
    with redis.Redis.from_url(addresses["redis"]) as client:
        assert client.ping()
    assert Path(parse_qs(urlsplit(addresses["postgres"]).query)["host"][0]).is_dir()
    assert addresses["ws"] == process.ws_url
    for page in ("demo", "docs", "metrics"):
        assert addresses[page] == f"{process.base_url}/{page}"
        with urlopen(addresses[page]) as answer:
            assert answer.status == 200
    assert Path(addresses["data"]).is_dir()
    exported = dict(each.partition("=")[::2] for each in shlex.split(addresses["export"]))
    assert (exported["REDIS_URL"], exported["DATABASE_URL"]) == (addresses["redis"], addresses["postgres"])
    assert urlsplit(addresses["http"]).port == int(exported["SYNCKAIROS_PORT"])
    watching = Process("session", "watch", NIL, env=exported)
    assert (watching.wait_end(), watching.output) == (1, f"No session {NIL} at {addresses['http']}\n")
    others = descendants(process.pid)
    assert len(others) > 4

    begin = monotonic()
    process.send(number)
    assert process.wait_end() == 0
    assert monotonic() - begin < 10
    assert not [pid for pid in others if is_running(pid)]
    assert not Path(addresses["data"]).exists()


def test_killed_dev_leaves_no_process_and_the_next_dev_removes_its_data(start_dev: StartDev, data_dir: Path) -> None:
    own_tmp = {"TMPDIR": str(data_dir)}  # a separate directory: another dev process could remove the data
    process, running = [each.wait_ready() for each in (start_dev(env=own_tmp), start_dev(env=own_tmp))]
    others = descendants(process.pid)
    process.kill()
    wait_for_end(others)
    abandoned = Path(banner(process)["data"])
    assert abandoned.exists()  # a killed process removes nothing
    next_dev = start_dev(env=own_tmp).wait_ready()
    assert not abandoned.exists()
    for each in (running, next_dev):
        assert Path(banner(each)["data"]).exists()


def test_data_directory_keeps_the_data_and_is_used_by_one_process(start_dev: StartDev, data_dir: Path) -> None:
    data = data_dir / "kept"
    process = start_dev("--data", str(data)).wait_ready()
    with redis.Redis.from_url(banner(process)["redis"]) as client:
        client.set("kept", "1")
    late = start_dev("--data", str(data))
    assert late.wait_end(timeout_s=10) == ExitCode.SETTINGS  # less than the time limit for the start of a store
    assert late.output == f"--data: {data} is in use by process {process.pid}; stop it, or choose another directory\n"
    assert process.stop() == 0
    process = start_dev("--data", str(data)).wait_ready()
    with redis.Redis.from_url(banner(process)["redis"]) as client:
        assert client.get("kept") == b"1"
    process.kill()
    start_dev("--data", str(data)).wait_ready()  # a killed process leaves no lock


def test_stores_that_are_set_are_used_and_none_is_started(
    start_dev: StartDev, redis_url: str, database_url: str
) -> None:
    process = start_dev(env={"REDIS_URL": redis_url, "DATABASE_URL": database_url}).wait_ready()
    addresses = banner(process)
    assert (addresses["redis"], addresses["postgres"]) == (redis_url, database_url)
    names = subprocess.run(["ps", "-e", "-o", "pid=,comm="], capture_output=True, text=True, check=True).stdout
    own = descendants(process.pid)
    running = {comm for pid, comm in (line.split(maxsplit=1) for line in names.splitlines()) if int(pid) in own}
    assert not running & {"valkey-server", "postgres"}


def test_data_directory_that_cannot_be_created_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = Process("dev", "--port", "0", "--data", str(tmp_path / "file" / "data"), cwd=tmp_path)
    assert process.wait_end() == ExitCode.SETTINGS
    assert process.output == f"--data: cannot use {tmp_path / 'file' / 'data'}: Not a directory\n"


def test_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process("dev", "--port", str(port), cwd=tmp_path)
        assert process.wait_end() == ExitCode.SETTINGS
    assert process.output.splitlines() == [
        f"Port {port} is taken; choose another with --port, or --port 0 for a free one"
    ]


def test_process_that_ends_stops_all_others(start_dev: StartDev) -> None:
    process = start_dev().wait_ready()
    with redis.Redis.from_url(banner(process)["redis"]) as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    assert process.wait_end() == 1
    assert "Valkey ended unexpectedly" in process.output


def test_dot_env_file_is_read(start_dev: StartDev, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SYNCKAIROS_PARTITIONS=none\n")
    process = start_dev()
    assert process.wait_end() == ExitCode.SETTINGS
    assert process.output.startswith("SYNCKAIROS_PARTITIONS: ")
    assert len(process.output.splitlines()) == 1


def test_authentication_prints_a_token_for_each_role_and_refuses_requests_without(start_dev: StartDev) -> None:
    process = start_dev("--auth").wait_ready()
    lines = process.output.splitlines()
    begin = lines.index("Authentication is on. Each token is valid for 12 h:")
    names, tokens = lines[begin + 2 : begin + 10 : 2], lines[begin + 3 : begin + 10 : 2]
    assert [name.split()[0] for name in names] == ["viewer", "participant", "controller", "admin"]

    def status_of(**headers: str) -> int:
        request = Request(f"{process.base_url}/v1/sessions", headers=headers)
        try:
            with urlopen(request) as answer:
                return int(answer.status)
        except HTTPError as refusal:
            return refusal.code

    assert status_of() == 401
    assert status_of(authorization=f"Bearer {tokens[3].strip()}") == 200
    assert f"  demo      {process.base_url}/demo#token={tokens[3].strip()}" in lines
    (export,) = (line.strip() for line in lines if line.startswith("  export "))
    exported = dict(each.partition("=")[::2] for each in shlex.split(export)[1:])
    assert exported["SYNCKAIROS_TOKEN"] == tokens[3].strip()
    assert exported["SYNCKAIROS_AUTH"] == "required"  # so that `doctor` and further instances have the same mode
    watching = Process("session", "watch", NIL, env=exported)
    assert (watching.wait_end(), watching.output) == (1, f"No session {NIL} at {process.base_url}\n")
    created = Process("tokens", "create", "--sub", "me", "--role", "viewer", env=exported)
    assert (created.wait_end(), created.output.count(".")) == (0, 2)
