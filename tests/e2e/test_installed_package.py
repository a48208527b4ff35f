"""The wheels that the Dockerfile builds are complete: commands and the client run outside of the checkout."""

import importlib.metadata
import re
import shutil
import site
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from synckairos.config import Settings, env_variables_of
from synckairos.embedded.guarded_child import ChildProcess
from synckairos.embedded.valkey import valkey_binary
from tests.processes import Process

ROOT = Path(__file__).parents[2]
DOCKERFILE, COMPOSE = ((ROOT / name).read_text() for name in ("Dockerfile", "compose.yaml"))

Run = Callable[..., Process]

PLAY = """
import asyncio
import importlib.util
import sys
from uuid import uuid4

from synckairos_client import Client


PEOPLE = [{"participant_id": str(uuid4()), "total_time_ms": 60_000} for _ in range(2)]
CLOCK = {"byoyomi": {"periods": 3, "period_ms": 30_000}}


async def main(url):
    client = Client(url)
    body = {"sync_mode": "per_participant", "participants": PEOPLE, "clock": CLOCK}
    created = await client.api.sessions.create(body)
    async with client, client.watch(created["session_id"]) as session:
        await session.command("start")
        ack = await session.command("switch")
        state = await session.reach(ack.version)
        first, second = state.participants
        assert 0 < session.remaining_ms(second.participant_id) <= 60_000
        print(state.status, state.version, first.remaining_ms + first.used_ms)


assert not any(map(importlib.util.find_spec, ("synckairos", "msgspec", "httpx")))
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the wheels of both distributions from the files from which the image is built, and from no other files."""
    source, built = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("wheel")
    for copied in re.findall(r"^COPY (?!--from)(.+) (\S+)$", DOCKERFILE, re.MULTILINE):
        for name in copied[0].split():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / copied[1], ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source / copied[1])
    for folder in (source, source / "clients" / "python"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = {path.name.partition("-")[0]: path for path in built.glob("*.whl")}
    assert found.keys() == {"synckairos", "synckairos_client"}
    return found


@pytest.fixture(scope="module")
def wheel(wheels: dict[str, Path]) -> Path:
    """Return the wheel of the server."""
    return wheels["synckairos"]


def install(place: Path, *wheels: Path) -> Path:
    """Create an environment that has these wheels and no dependencies. Return its folder of packages."""
    venv.create(place, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(place / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", *map(str, wheels)], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    return packages


@pytest.fixture(scope="module")
def program(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheels into a new environment. The dependencies come from the environment of the tests."""
    place = tmp_path_factory.mktemp("installed")
    packages = install(place, *wheels.values())
    # These packages have the lower priority, so that `synckairos` is the wheel and not the checkout.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return place / "bin" / "synckairos"


@pytest.fixture(scope="module")
def client_alone(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution of the client, a wheel from it, and install that wheel. Return its Python.

    The environment has the dependencies that the wheel names, and no other packages.
    """
    folder = tmp_path_factory.mktemp("client")
    for target, source in (("sdist", ROOT / "clients" / "python"), ("wheel", folder / "unpacked")):
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
        if target == "sdist":
            (archive,) = folder.glob("*.tar.gz")
            with tarfile.open(archive) as files:
                files.extractall(folder, filter="data")
            (folder / archive.name.removesuffix(".tar.gz")).rename(folder / "unpacked")
    (built,) = folder.glob("*.whl")
    assert set(ZipFile(built).namelist()) == set(ZipFile(wheels["synckairos_client"]).namelist())
    packages = install(folder / "environment", built)
    for name in ("orjson", "websockets"):
        distribution = importlib.metadata.distribution(name)
        for file in {each.parts[0] for each in distribution.files or () if ".." not in each.parts}:
            (packages / file).symlink_to(Path(str(distribution.locate_file(file))))
    return folder / "environment" / "bin" / "python"


@pytest.fixture(autouse=True)
def no_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove PYTHONPATH, because it can name the checkout, which would hide the installed package."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture
def run(program: Path, settings: Settings, tmp_path: Path) -> Iterator[Run]:
    """Return a function that runs the installed program in an empty directory."""
    started: list[Process] = []

    def start(*args: str, **env: str) -> Process:
        started.append(
            Process(*args, env={**settings.to_environment_variables(), **env}, cwd=tmp_path, command=[str(program)])
        )
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.mark.slow
def test_wheel_has_all_files_of_the_package_all_migrations_and_the_documentation(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    files = [file.relative_to(ROOT) for file in (ROOT / "synckairos").rglob("*") if file.is_file()]
    assert {str(file) for file in files if "__pycache__" not in file.parts} <= names
    migrations = (ROOT / "migrations").glob("*.sql")
    assert {f"synckairos/migrations/{file.name}" for file in migrations} <= names
    documents = [file.relative_to(ROOT) for file in (ROOT / "docs").rglob("*") if file.is_file()]
    assert {f"synckairos/{file}" for file in documents} <= names


@pytest.mark.slow
def test_wheel_of_the_client_has_all_its_files_and_two_dependencies(wheels: dict[str, Path]) -> None:
    archive = ZipFile(wheels["synckairos_client"])
    package = ROOT / "clients" / "python" / "synckairos_client"
    files = [file.relative_to(package.parent) for file in package.rglob("*") if file.is_file()]
    assert {str(file) for file in files if "__pycache__" not in file.parts} <= set(archive.namelist())
    (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    required = re.findall(r"^Requires-Dist: ([a-z-]+)", archive.read(metadata).decode(), re.MULTILINE)
    assert sorted(required) == ["orjson", "websockets"]


@pytest.mark.slow
def test_client_without_the_server_plays_on_a_real_server(
    client_alone: Path, serve_process: Process, tmp_path: Path
) -> None:
    (tmp_path / "play.py").write_text(PLAY)
    command = [str(client_alone), str(tmp_path / "play.py"), serve_process.base_url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["running", "3", "60000"]


@pytest.mark.slow
def test_every_production_process_runs_from_the_wheel(run: Run, program: Path, bare_database_url: str) -> None:
    print_paths = "import synckairos.postgres.migrations_dir as found; print(found.__file__, found.migrations_dir())"
    printed = subprocess.run(
        [program.parent / "python", "-c", print_paths], cwd="/", capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(program.parents[1])) for path in printed.stdout.split())
    database = {"SYNCKAIROS_DATABASE_URL": bare_database_url}
    migrate = run("migrate", **database)
    assert migrate.wait_end() == 0
    assert migrate.output.startswith("applied 0001_")
    assert run("doctor", **database).wait_end() == 0
    worker, server = run("worker", **database), run("serve", "--port", "0", **database).wait_ready()
    with httpx.Client(base_url=server.base_url, trust_env=False) as client:
        for path in ("/ready", "/metrics", "/openapi.json", "/asyncapi.json", "/docs/guides/chess", "/demo"):
            assert client.get(path, follow_redirects=True).status_code == 200
        body = {"sync_mode": "global", "participants": [], "total_time_ms": 60_000}
        session_id = client.post("/v1/sessions", json=body).json()["data"]["session_id"]
        for command in ("start", "complete"):
            assert client.post(f"/v1/sessions/{session_id}/{command}").status_code == 200
        worker.wait_for_line(lambda line: "worker started" in line)
        job = run("jobs", "run", "archive", session_id, "--wait", **database)
        assert job.wait_end() == 0, job.output
        assert client.get(f"/v1/sessions/{session_id}/archive").json()["data"]["event_count"] == 3
    for process in (server, worker):
        assert process.stop() == 0


@pytest.mark.slow
def test_dev_runs_from_the_wheel(run: Run, settings: Settings) -> None:
    dev = run("dev", "--port", "0").wait_ready()
    assert httpx.get(f"{dev.base_url}/ready", trust_env=False).status_code == 200
    assert dev.stop() == 0


def test_healthcheck_of_the_image_finds_a_running_server_healthy_and_a_missing_one_not(serve_process: Process) -> None:
    (code,) = re.findall(r'^HEALTHCHECK .*CMD \["python", "-c", "(.+)"\]$', DOCKERFILE, re.MULTILINE)
    port = httpx.URL(serve_process.base_url).port
    for used_port, expected in ((str(port), 0), ("1", 1)):
        ran = subprocess.run([sys.executable, "-c", code], env={"PORT": used_port}, capture_output=True)
        assert ran.returncode == expected


def test_every_variable_in_compose_is_a_setting() -> None:
    named = set(re.findall(r"^ +([A-Z][A-Z_]+):", COMPOSE, re.MULTILINE))
    ours = {name for name in named if not name.startswith("POSTGRES_")}
    assert {"REDIS_URL", "DATABASE_URL"} < ours
    assert ours <= {name for field in Settings.model_fields for name in env_variables_of(field)}


def test_valkey_with_the_options_of_compose_passes_the_doctor(run: Run, tmp_path: Path) -> None:
    (flags,) = re.findall(r"command: \[valkey-server, (.+)\]", COMPOSE)
    socket = tmp_path / "socket"
    argv = [valkey_binary(), *(flag.strip('" ') for flag in flags.split(","))]
    valkey = ChildProcess([*argv, "--port", "0", "--unixsocket", socket, "--dir", tmp_path], stdout=subprocess.PIPE)
    try:
        assert valkey.process.stdout is not None
        assert any(b"Ready to accept connections" in line for line in valkey.process.stdout)
        url = f"unix://{socket}"
        doctor = run("doctor", SYNCKAIROS_REDIS_URL=url, SYNCKAIROS_QUEUE_REDIS_URL=url)
        assert doctor.wait_end() == 0, doctor.output
    finally:
        valkey.stop()
