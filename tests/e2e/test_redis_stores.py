"""The whole product on each kind of Redis, with each kind of connection. Each test uses a server and a worker."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.admin import doctor
from synckairos.admin.jobs import enqueue_job, wait_for_job_end
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions
from tests.certificates import create_certificates
from tests.conftest import copied_database
from tests.e2e.conversation import DEADLINE_S, conversation
from tests.processes import Process
from tests.redis_server import RedisServer, running_redis, running_valkey

PASSWORD = "p@ss/word#?%"
ENCODED_PASSWORD = "p%40ss%2Fword%23%3F%25"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A separate Redis, with a server and a worker that connect to it in one way."""

    store: RedisServer
    settings: Settings
    server: Process
    worker: Process


def open_store(kind: str, folder: Path, stack: ExitStack) -> tuple[RedisServer, str]:
    """Start the Redis of a kind. Return the Redis server and its URL."""
    files = create_certificates(folder) if kind == "tls" else None
    is_valkey = kind in ("valkey", "unix socket")
    store = stack.enter_context(running_valkey(folder) if is_valkey else running_redis(folder, files))
    match kind:
        case "tls":
            assert files is not None
            own = f"ssl_certfile={files.client}&ssl_keyfile={files.client_key}"
            return store, f"rediss://localhost:{store.port}/0?ssl_ca_certs={files.authority}&{own}"
        case "acl":
            set_rule(store)
            return store, f"redis://synckairos:{ENCODED_PASSWORD}@127.0.0.1:{store.port}/2"
        case "unix socket":
            return store, f"unix://{store.socket}?db=1"
        case "ipv6":
            return store, f"redis://[::1]:{store.port}"
        case _:
            return store, f"redis://127.0.0.1:{store.port}"


def set_rule(store: RedisServer, *changes: str) -> None:
    """Give the user of the deployment exactly the permissions of the printed ACL rule, with the given changes."""
    rule = Permissions(Keys(), store=True, queue=True, db=2).render_acl_rule()
    with store.admin() as admin:
        admin.execute_command(*rule.replace(">PASSWORD", f">{PASSWORD}").split(" "), *changes)
        admin.execute_command("ACL", "SAVE")


KINDS = ("valkey", "redis 7.0", "tls", "acl", "unix socket", "ipv6")


@pytest.fixture(scope="module")
def deployments(
    request: pytest.FixtureRequest, postgres: Postgres, template_database: str, data_dir: Path
) -> Iterator[dict[str, Deployment]]:
    """Start the deployments of all selected tests in parallel, because Python imports take most of the start time."""
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    kinds = {call.params["deployment"] for call in calls if call is not None and "deployment" in call.params}
    with ExitStack() as stack:
        started = {}
        for kind in KINDS:
            if kind in kinds:
                folder = data_dir / f"redis-{uuid4().hex[:8]}"
                folder.mkdir()
                store, url = open_store(kind, folder, stack)
                database_url = stack.enter_context(copied_database(postgres, template_database))
                settings = Settings(
                    redis_url=url, database_url=database_url, archive_url=str(folder / "archive"), drain_timeout_s=0
                )
                server, worker = (
                    Process(*command, env=settings.to_environment_variables())
                    for command in (("serve", "--port", "0"), ("worker",))
                )
                stack.callback(worker.stop)
                stack.callback(server.stop)
                started[kind] = Deployment(store, settings, server, worker)
        yield started


@pytest.fixture(params=KINDS)
def deployment(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    found = deployments[request.param]
    if not found.server.urls:
        found.server.wait_ready()
    return found


@pytest.mark.parametrize("deployment", ["acl"], indirect=True)
async def test_user_with_exactly_the_printed_rule_is_refused_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This test runs before the other tests, because a restart of Redis clears its statistics."""
    for name, value in deployment.settings.to_environment_variables().items():
        monkeypatch.setenv(name, value)
    async with conversation(deployment.server, deployment.settings) as talk:
        await talk.command("switch")
        await talk.wait_for_audit()
        await talk.use_everything()
        await talk.command("pause")
        await talk.command("resume")
        await talk.command("complete")
        await talk.wait_for_audit()
        job_id = await enqueue_job(deployment.settings, "archive", {"session_id": talk.session_id})
        async with asyncio.timeout(DEADLINE_S):
            await wait_for_job_end(deployment.settings, job_id)
        checks = await doctor.run_checks()
        assert [check for check in checks if not check.passed and check.name != "port"] == []
        (shown,) = (check.result for check in checks if check.name == "redis permissions")
        assert Permissions(Keys(), store=True, queue=True, db=2).render_acl_rule() in shown
    with deployment.store.admin() as admin:
        assert admin.acl_log() == []
        used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    # A unit test compares the Redis commands of the store with its code. arq sends UNWATCH if a job is queued twice.
    assert Permissions(Keys(), store=False, queue=True).redis_commands - used <= {"unwatch"}


@pytest.mark.parametrize("deployment", ["acl"], indirect=True)
async def test_user_without_one_permission_is_refused_until_it_is_given(deployment: Deployment) -> None:
    async with conversation(deployment.server, deployment.settings) as talk:
        for change in ("-evalsha", "-time", "resetkeys", "resetchannels"):
            set_rule(deployment.store, change)
            assert await talk.status_of("switch") == 503
            with deployment.store.admin() as admin:
                assert admin.acl_log() != []
            set_rule(deployment.store)
            await talk.command("switch")
    assert "Traceback" not in deployment.server.output + deployment.worker.output


async def test_conversation_survives_a_restart_of_redis(deployment: Deployment) -> None:
    async with conversation(deployment.server, deployment.settings) as talk:
        await talk.command("switch")
        await talk.wait_for_audit()
        await asyncio.to_thread(deployment.store.restart)
        await talk.command("switch")
        await talk.command("complete")
        await talk.wait_for_audit()
        job_id = await enqueue_job(deployment.settings, "archive", {"session_id": talk.session_id})
        async with asyncio.timeout(DEADLINE_S):
            job = await wait_for_job_end(deployment.settings, job_id)
        assert job.status == "done", job.error
    for process in (deployment.server, deployment.worker):
        assert "Traceback" not in process.output
        assert PASSWORD not in process.output
        assert ENCODED_PASSWORD not in process.output


@pytest.mark.parametrize("deployment", ["valkey"], indirect=True)
async def test_outage_of_redis_is_logged_once_by_each_process_and_its_end_too(deployment: Deployment) -> None:
    """The test starts new processes. Those of the deployment may have logged another outage in the last minute."""
    env = deployment.settings.model_copy(update={"redis_timeout_s": 0.5}).to_environment_variables()
    server, worker = Process("serve", "--port", "0", env=env), Process("worker", env=env)
    try:
        server.wait_ready()
        worker.wait_for_line(lambda line: "worker started" in line)
        await asyncio.to_thread(deployment.store.stop)
        for process in (server, worker):
            line = orjson.loads(process.wait_for_line(lambda line: "store is unavailable" in line))
            assert (line["store"], line["setting"]) == ("redis", "REDIS_URL")
        async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as rest:
            for _ in range(3):  # each request waits until its timeout, during several attempts to connect
                assert (await rest.get("/v1/sessions")).status_code == 503
        await asyncio.to_thread(deployment.store.start)
        for process in (server, worker):
            process.wait_for_line(lambda line: "store is available again" in line)
    finally:
        for process in (server, worker):
            process.stop()
    assert [orjson.loads(line)["event"] for line in server.output.splitlines() if '"level":"warning"' in line] == [
        "store is unavailable",
        "request refused",
    ]
    assert worker.output.count('"level":"warning"') == 1
