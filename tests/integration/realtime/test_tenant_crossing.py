"""A socket of one tenant with the id of a session of another tenant, in each message and command.

Each answer, and the number of round trips to Redis, is that for a session that does not exist. The messages are those
of the access matrix, which has each message and command.
"""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from synckairos.config import Settings
from tests.integration.authentication import make_token
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, serving
from tests.integration.realtime.test_access_rules import (
    ROLES,
    ROOT,
    SESSION_MESSAGES,
    open_session,
    send,
    signed_in,
    v2_conversation,
    without_time,
)
from tests.integration.round_trips import RoundTrips

pytestmark = pytest.mark.serving_login


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings, credential_life=CredentialLifeOptions()) as served:
        yield served


@pytest.mark.parametrize("message", SESSION_MESSAGES)
async def test_session_of_another_tenant_answers_and_costs_the_same_as_a_missing_session(
    instance: Instance, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, version = await open_session(instance, message.partition(" ")[2])
    missing = str(uuid4())
    for role in ROLES:
        answers = []
        for requested in (str(uuid4()), session_id, missing):  # after the first one, Redis has all scripts
            async with signed_in(instance, role, requested, tenant="acme") as client:
                with monkeypatch.context() as patch:
                    trips = RoundTrips(patch, instance.parts.pipe, requested)
                    answer = without_time(await send(client, message, requested))
                answers.append((str(answer).replace(requested, "ID"), trips.count))
        assert answers[1] == answers[2], role
        assert answers[1][0] == answers[0][0], role
        assert message == "UNSUBSCRIBE" or "'type': 'ERROR'" in answers[1][0], role
    assert (await instance.sessions.read(ROOT, session_id)).snapshot.version == version


async def test_v2_socket_of_another_tenant_gets_the_messages_for_a_missing_session(instance: Instance) -> None:
    session_id, _ = await open_session(instance, "start")
    found = []
    for requested in (session_id, str(uuid4())):
        received = await v2_conversation(instance, requested, make_token(role="admin", tenant="acme"), 1)
        found.append(str(received).replace(requested, "ID"))
    assert found[0] == found[1]
    assert "SESSION_NOT_FOUND" in found[0]
