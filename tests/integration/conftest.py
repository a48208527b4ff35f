"""Fixtures of the integration tests: time limits of servers in the process of the test, the audit, and REST."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.table import JobTable
from synckairos.jobs.wakeups import JobWakeups
from synckairos.realtime.timings import RealtimeTimeLimits
from synckairos.server.timings import ServerTimeLimits
from synckairos.store.participant_sessions import MAX_SESSIONS
from tests.integration.audit_parts import AuditParts, open_audit_parts
from tests.integration.jobs.job_components import JobComponents, open_job_components
from tests.integration.parts import Parts, open_parts
from tests.integration.realtime.instances import SHORT_REALTIME, SHORT_SERVER, Instance, serving
from tests.integration.rest_server import RestServer, open_rest_server


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[Valkey]:
    """Start a Valkey for one test, which the test is allowed to stop, freeze or flush."""
    with Valkey(data_dir / tmp_path_factory.mktemp("valkey").name) as store:
        yield store


@pytest.fixture
def own_settings(settings: Settings, own_valkey: Valkey) -> Settings:
    """Return settings with a Valkey that the test is allowed to flush."""
    return settings.model_copy(update={"redis_url": own_valkey.url, "queue_redis_url": own_valkey.url})


@pytest.fixture
def realtime_timings() -> RealtimeTimeLimits:
    """Return the time limits of the hub. A test overrides them by a parameter with this name."""
    return SHORT_REALTIME


@pytest.fixture
def server_timings() -> ServerTimeLimits:
    """Return the time limits of the server. A test overrides them by a parameter with this name."""
    return SHORT_SERVER


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open the parts of an instance on the stores of one test."""
    async with open_parts(settings) as opened:
        yield opened


@pytest.fixture
async def audit(settings: Settings) -> AsyncIterator[AuditParts]:
    """Open the parts of the audit and of history on the stores of one test."""
    async with open_audit_parts(settings) as opened:
        yield opened


@pytest.fixture
async def jobs(audit: AuditParts) -> AsyncIterator[JobComponents]:
    """Open the components of background jobs on the stores of one test."""
    async with open_job_components(audit) as opened:
        yield opened


@pytest.fixture
def job_table(jobs: JobComponents) -> JobTable:
    return jobs.job_table


@pytest.fixture
async def job_queue(audit: AuditParts, job_table: JobTable) -> AsyncIterator[JobQueue]:
    wakeups = JobWakeups(audit.settings.queue_redis_url, audit.settings.key_prefix)
    yield JobQueue(job_table, wakeups)
    await wakeups.close()


@pytest.fixture
def max_listed() -> int:
    """Return the maximum number of sessions in the Redis list of one participant.

    A test overrides it by a parameter.
    """
    return MAX_SESSIONS


@pytest.fixture
async def server(settings: Settings, max_listed: int) -> AsyncIterator[RestServer]:
    """Open the REST application on the stores of one test."""
    async with open_rest_server(settings, max_listed=max_listed) as opened:
        yield opened


@pytest.fixture
async def client(server: RestServer) -> httpx.AsyncClient:
    return server.client


@pytest.fixture
async def instance(
    settings: Settings, realtime_timings: RealtimeTimeLimits, server_timings: ServerTimeLimits
) -> AsyncIterator[Instance]:
    """Serve WebSockets in the process of the test."""
    async with serving(settings, realtime_timings=realtime_timings, server_timings=server_timings) as served:
        yield served


@pytest.fixture
async def other_instance(
    settings: Settings, realtime_timings: RealtimeTimeLimits, server_timings: ServerTimeLimits
) -> AsyncIterator[Instance]:
    """Serve a second instance on the same stores."""
    async with serving(settings, realtime_timings=realtime_timings, server_timings=server_timings) as served:
        yield served
