"""The commands of the page about backups, run as written: a backup, the loss of both stores, a restore."""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey, postgres_home
from synckairos.embedded.valkey import valkey_binary
from synckairos.postgres.migrate import migrate
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.shared_connection import RedisPipe
from synckairos_client import Client
from synckairos_client.watched_session import Watch
from tests.balancer import Balancer, run_balancer
from tests.ports import free_port
from tests.processes import Process
from tests.unit.docs.pages import DOCUMENTS, code_blocks
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DEADLINE_S = 60
EXAM_MS = 4_000
"""Milliseconds: the budget of the session whose deadline passes between the backup and the end of the restore."""


def page_blocks() -> list[str]:
    """Return the shell commands of the page, in order. Those of a step are indented."""
    return [
        textwrap.dedent(block)
        for block in code_blocks(textwrap.dedent(_without_indent(DOCUMENTS / "operate" / "backup.md")), "bash")
    ]


def _without_indent(page: Path) -> str:
    return "\n".join(line.removeprefix("   ") for line in page.read_text().splitlines()) + "\n"


@dataclass
class Site:
    """Both stores on their own directories, and the processes that use them."""

    postgres: Postgres
    valkey: Valkey
    archives: Path
    processes: list[Process] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return Settings(
            port=0,
            redis_url=self.valkey.url,
            database_url=self.postgres.url,
            archive_url=str(self.archives),
            rate_limit_general=1_000_000,
            rate_limit_switch=1_000_000,
            client_work_factor=1_000,
            drain_timeout_s=0,
        )

    def start(self, *arguments: str) -> Process:
        """Start a process of the product."""
        self.processes.append(Process(*arguments, env=self.settings.to_environment_variables()))
        return self.processes[-1]

    def kill(self, *, with_stores: bool) -> None:
        """Kill all processes, and on request the stores. Remove the data of killed stores."""
        for process in self.processes:
            process.kill()
        self.processes.clear()
        if with_stores:
            self.valkey.kill()
            self.postgres.kill()
            shutil.rmtree(self.valkey.data_dir)
            shutil.rmtree(self.postgres.cluster_dir)


@pytest.fixture
def sites(data_dir: Path) -> Iterator[list[Site]]:
    """Start two pairs of stores: one with the tables of the product, and an empty one for the restore."""
    with ExitStack() as stack:
        found = []
        for number in range(2):
            folder = data_dir / f"backup-{uuid4().hex[:8]}"
            folder.mkdir()
            folder.chmod(0o711)
            postgres = stack.enter_context(Postgres(folder / "postgres", durable=False))
            valkey = stack.enter_context(Valkey(folder / "valkey"))
            found.append(Site(postgres, valkey, folder / "archive"))
            if number == 0:
                asyncio.run(migrate(postgres.url))
        yield found
        for site in found:
            site.kill(with_stores=False)


class Shell:
    """A shell that runs the commands of the page with the programs and the stores of the tests."""

    def __init__(self, folder: Path) -> None:
        self._backup = folder / "backup"
        programs = folder / "bin"
        for each in (self._backup, programs):
            each.mkdir(parents=True)
        (programs / "redis-server").symlink_to(valkey_binary())
        launcher = programs / "synckairos"
        launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m synckairos "$@"\n')
        launcher.chmod(0o755)
        self._path = os.pathsep.join([str(programs), str(postgres_home() / "bin"), os.environ["PATH"]])
        self._copy_port = str(free_port())

    async def run(self, block: str, site: Site) -> str:
        """Run one block of the page against the stores of a site. Return what it printed."""
        environment = {"PATH": self._path, "BACKUP": str(self._backup), "PYTHONPATH": os.environ["PYTHONPATH"]}
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", block.replace("6390", self._copy_port)],
            env=environment | _shell_variables(site.settings),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _shell_variables(settings: Settings) -> dict[str, str]:
    """Return the variables of the settings, with the names that the page uses."""
    variables = settings.to_environment_variables()
    for name in ("REDIS_URL", "QUEUE_REDIS_URL", "DATABASE_URL"):
        if (value := variables.pop(f"SYNCKAIROS_{name}", None)) is not None:
            variables[name] = value
    return variables


class Fleet:
    """REST calls to the server of a site, and the versions that it acknowledged."""

    def __init__(self, rest: httpx.AsyncClient) -> None:
        self._rest = rest
        self.documents: dict[tuple[str, int], dict[str, Any]] = {}
        """Acknowledged documents by session id and version."""

    async def create(self, budget_ms: int = 86_400_000, **members: Any) -> str:
        """Create and start a session. Return its id."""
        two = [{"participant_id": str(uuid4()), "total_time_ms": budget_ms} for _ in range(2)]
        body = {"sync_mode": "per_participant", "participants": two} | members
        created = (await self.post("", json=body)).json()["data"]
        await self.post(f"/{created['session_id']}/start")
        return str(created["session_id"])

    async def post(self, path: str, key: str | None = None, **options: Any) -> httpx.Response:
        """Send a command to a session, with an Idempotency-Key if it is given. Note the acknowledged version."""
        headers = {} if key is None else {"Idempotency-Key": key}
        response = (await self._rest.post(f"/v1/sessions{path}", headers=headers, **options)).raise_for_status()
        data = response.json()["data"]
        self.documents[data["session_id"], data["version"]] = data
        return response

    async def get(self, session_id: str, **headers: str) -> httpx.Response:
        return await self._rest.get(f"/v1/sessions/{session_id}", headers=headers)

    async def conditional_switch(self, session_id: str, etag: str) -> int:
        """Return the HTTP status of a switch with `If-Match`."""
        path = f"/v1/sessions/{session_id}/switch"
        return (await self._rest.post(path, headers={"If-Match": etag})).status_code


@asynccontextmanager
async def fleet_of(site: Site) -> AsyncIterator[tuple[Fleet, tuple[str, int]]]:
    """Start a server. Yield its REST calls and its address."""
    server = await asyncio.to_thread(site.start("serve", "--port", "0").wait_ready)
    address = urlsplit(server.base_url)
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=30) as rest:
        yield Fleet(rest), (address.hostname or "", address.port or 80)


async def copy_at_once(site: Site) -> None:
    """Make Valkey start a copy at once. By default it waits five seconds for further replicas."""
    async with RedisPipe(site.settings.redis_url, site.settings.redis_timeout_s) as pipe:
        await pipe.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)


async def drain(site: Site) -> None:
    """Run a worker until Postgres has all versions, and kill it."""
    worker = site.start("worker")

    async def is_drained() -> bool:
        async with RedisPipe(site.settings.redis_url, site.settings.redis_timeout_s) as pipe:
            return await Outbox(pipe, Keys()).is_empty(0)

    await eventually(is_drained, 60)
    worker.kill()
    site.processes.remove(worker)


async def stored_versions(site: Site) -> dict[tuple[str, int], list[tuple[str, str, bytes]]]:
    """Return epoch, event type and document of each row in Postgres, by session id and version."""
    found: dict[tuple[str, int], list[tuple[str, str, bytes]]] = {}
    async with await psycopg.AsyncConnection.connect(site.postgres.url) as database:
        rows = await database.execute("SELECT session_id::text, version, epoch, event_type, snapshot FROM sync_events")
        async for session_id, version, epoch, event_type, snapshot in rows:
            found.setdefault((session_id, version), []).append((epoch, event_type, snapshot))
    return found


async def watch_reaches_epoch(watch: Watch, epoch: str) -> None:
    """Wait until a client has a state of an epoch."""
    async with asyncio.timeout(DEADLINE_S), aclosing(watch.updates()) as updates:
        async for update in updates:
            if update.state.epoch == epoch:
                return


async def test_restore_after_the_loss_of_both_stores_gives_what_the_page_says(
    sites: list[Site], tmp_path: Path
) -> None:
    lost_site, new_site = sites
    copy_redis, copy_postgres, copy_archives, *restore = page_blocks()
    shell = Shell(tmp_path)
    async with AsyncExitStack() as stack:
        before, address = await stack.enter_async_context(fleet_of(lost_site))
        balancer: Balancer = await stack.enter_async_context(run_balancer([address]))
        game, ended = await before.create(), await before.create()
        await before.post(f"/{ended}/complete")
        kept_key, lost_key = uuid4().hex, uuid4().hex
        first_answer = await before.post(f"/{game}/switch", kept_key)
        client = await stack.enter_async_context(Client(balancer.http_url))
        watch = await stack.enter_async_context(client.watch(game))
        lost_site.archives.mkdir()
        (lost_site.archives / "a.sksession").write_bytes(b"an archive")

        await copy_at_once(lost_site)
        await drain(lost_site)
        exam = await before.create(EXAM_MS)
        await before.post(f"/{game}/switch")  # only in the outbox, until the loss
        kept = dict(before.documents)
        await shell.run(copy_redis, lost_site)
        await before.post(f"/{game}/switch")  # in neither copy
        await shell.run(copy_postgres, lost_site)
        await shell.run(copy_archives, lost_site)
        await before.post(f"/{game}/switch", lost_key)
        unknown = await before.create()
        lost_etag = (await before.get(game)).headers["etag"]
        ended_etag = (await before.get(ended)).headers["etag"]
        lost_site.kill(with_stores=True)

        printed = [await shell.run(block, new_site) for block in restore]
        assert (new_site.archives / "a.sksession").read_bytes() == b"an archive"
        assert "3 versions were new in Postgres" in printed[1]  # two of the exam, one of the game
        assert printed[2].splitlines()[-1].endswith("0 faults")

        stored = await stored_versions(new_site)
        lost = before.documents.keys() - stored.keys()
        newest = max(version for session_id, version in kept if session_id == game)
        assert lost == {(game, newest + 1), (game, newest + 2), (unknown, 1), (unknown, 2)}
        assert kept.keys() == before.documents.keys() - lost
        for key, document in kept.items():
            ((_, _, snapshot),) = stored[key]
            assert orjson.loads(snapshot) | document == orjson.loads(snapshot)

        after, address = await stack.enter_async_context(fleet_of(new_site))
        new_site.start("worker")
        balancer.targets[:] = [address]
        recovered = (await after.get(game)).json()["data"]
        assert recovered["version"] == newest + 1
        assert recovered["epoch"] not in lost_etag
        assert recovered["cycle_started_at"] == kept[game, newest]["cycle_started_at"]  # the outage is charged
        await watch_reaches_epoch(watch, recovered["epoch"])
        assert (await after.get(unknown)).status_code == 404
        assert (await after.get(ended)).headers["etag"] == ended_etag

        again = await after.post(f"/{game}/switch", kept_key)
        assert (again.content, again.headers["idempotency-replayed"]) == (first_answer.content, "true")
        executed = await after.post(f"/{game}/switch", lost_key)
        assert executed.json()["data"]["version"] == newest + 2 == int(lost_etag.strip('"').partition("-")[0])
        assert (await after.post(f"/{game}/switch", lost_key)).content == executed.content
        assert (await after.get(game, **{"If-None-Match": lost_etag})).status_code == 200
        assert await after.conditional_switch(game, lost_etag) == 412
        assert (await watch.reach(newest + 2)).epoch == recovered["epoch"]

        async def expired_exam() -> dict[str, Any] | None:
            data: dict[str, Any] = (await after.get(exam)).json()["data"]
            return data if data["status"] == "expired" else None

        found = await eventually(expired_exam)
        assert found is not None
        assert found["session_completed_at"] == kept[exam, 2]["deadline_at"]
