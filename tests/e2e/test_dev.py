"""`synckairos dev` brings everything up, and everything down, however it ends."""

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest
import redis

from tests.processes import Process, is_running

StartDev = Callable[..., Process]


@pytest.fixture
def start_dev(tmp_path: Path) -> Iterator[StartDev]:
    """Start `dev` on a free port, in a directory of its own so that nobody's .env counts."""
    started: list[Process] = []

    def start(*args: str, env: dict[str, str] | None = None) -> Process:
        started.append(Process("dev", "--port", "0", *args, env=env, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def banner(process: Process) -> dict[str, str]:
    """Read the banner's table of addresses."""
    rows = (line.split(maxsplit=1) for line in process.output.splitlines() if line.startswith("  "))
    return {name: value.split(" (")[0].strip() for name, value in rows}


def descendants(pid: int) -> set[int]:
    """List the processes that `pid` started, and those they started."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    found: set[int] = set()
    front = {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front} - found
        found |= front
    return found


def wait_for_end(pids: set[int]) -> None:
    names = [f"--pid={pid}" for pid in pids]
    subprocess.run(["tail", *names, "-s", "0.05", "-f", "/dev/null"], timeout=30, check=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_what_it_says_and_ends_within_ten_seconds(number: signal.Signals, start_dev: StartDev) -> None:
    process = start_dev().wait_ready()
    addresses = banner(process)
    with urlopen(addresses["http"] + "/health") as answer:
        assert answer.status == 200
    with redis.Redis.from_url(addresses["redis"]) as client:
        assert client.ping()
    assert Path(parse_qs(urlsplit(addresses["postgres"]).query)["host"][0]).is_dir()
    assert addresses["ws"] == process.ws_url
    for page in ("demo", "docs", "metrics"):
        assert addresses[page] == f"{process.base_url}/{page}"
    assert Path(addresses["data"]).is_dir()
    named = dict(each.partition("=")[::2] for each in shlex.split(addresses["export"]))
    assert (named["REDIS_URL"], named["DATABASE_URL"]) == (addresses["redis"], addresses["postgres"])
    others = descendants(process.pid)
    assert len(others) > 4

    begin = monotonic()
    process.send(number)
    assert process.wait_end() == 0
    assert monotonic() - begin < 10
    assert not [pid for pid in others if is_running(pid)]
    assert not Path(addresses["data"]).exists()


def test_killed_it_leaves_nobody_behind_and_the_next_one_removes_its_data(start_dev: StartDev, data_dir: Path) -> None:
    here = {"TMPDIR": str(data_dir)}  # or whoever else starts one on this machine would tidy up
    process, living = start_dev(env=here).wait_ready(), start_dev(env=here).wait_ready()
    others = descendants(process.pid)
    process.kill()
    wait_for_end(others)
    left = Path(banner(process)["data"])
    assert left.exists()  # nobody was left to remove it
    next_one = start_dev(env=here).wait_ready()
    assert not left.exists()
    for each in (living, next_one):
        assert Path(banner(each)["data"]).exists()


def test_the_data_survives_where_it_was_asked_for(start_dev: StartDev, data_dir: Path) -> None:
    data = data_dir / "kept"
    process = start_dev("--data", str(data)).wait_ready()
    with redis.Redis.from_url(banner(process)["redis"]) as client:
        client.set("kept", "1")
    assert process.stop() == 0
    process = start_dev("--data", str(data)).wait_ready()
    with redis.Redis.from_url(banner(process)["redis"]) as client:
        assert client.get("kept") == b"1"


def test_data_in_use_is_one_line_at_once(start_dev: StartDev, data_dir: Path) -> None:
    data = data_dir / "kept"
    process = start_dev("--data", str(data)).wait_ready()
    late = start_dev("--data", str(data))
    assert late.wait_end(timeout_s=10) == 1  # less than the time in which a store may let go of it
    assert late.output == f"--data: {data} is in use by process {process.pid}; stop it, or choose another directory\n"
    process.kill()
    start_dev("--data", str(data)).wait_ready()  # whoever was killed left nothing in the way


def test_the_stores_somebody_named_are_used(start_dev: StartDev, redis_url: str, database_url: str) -> None:
    process = start_dev(env={"REDIS_URL": redis_url, "DATABASE_URL": database_url}).wait_ready()
    addresses = banner(process)
    assert (addresses["redis"], addresses["postgres"]) == (redis_url, database_url)
    names = subprocess.run(["ps", "-e", "-o", "pid=,comm="], capture_output=True, text=True, check=True).stdout
    own = descendants(process.pid)
    running = {comm for pid, comm in (line.split(maxsplit=1) for line in names.splitlines()) if int(pid) in own}
    assert not running & {"valkey-server", "postgres"}


def test_a_place_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = Process("dev", "--port", "0", "--data", str(tmp_path / "file" / "data"), cwd=tmp_path)
    assert process.wait_end() == 1
    assert process.output == f"--data: cannot use {tmp_path / 'file' / 'data'}: Not a directory\n"


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process("dev", "--port", str(port), cwd=tmp_path)
        assert process.wait_end() == 1
    assert process.output.splitlines() == [
        f"Port {port} is taken; choose another with --port, or --port 0 for a free one"
    ]


def test_a_part_that_dies_ends_the_rest(start_dev: StartDev) -> None:
    process = start_dev().wait_ready()
    with redis.Redis.from_url(banner(process)["redis"]) as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    assert process.wait_end() == 1
    assert "Valkey ended unexpectedly" in process.output


def test_a_dot_env_is_read(start_dev: StartDev, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SYNCKAIROS_PARTITIONS=none\n")
    process = start_dev()
    assert process.wait_end() == 1
    assert process.output.startswith("SYNCKAIROS_PARTITIONS: ")
    assert len(process.output.splitlines()) == 1
