"""Verification of API keys: accepted secrets, ends on all instances, the cache, and stores that are away."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.identity.secret_text import make_secret_text
from synckairos.principal import SessionGrant
from synckairos.stored_credentials import verifier
from synckairos.stored_credentials.table import OVERLAP_MS
from synckairos.stored_credentials.verifier import REFUSED
from tests.integration.authentication import now_ms
from tests.integration.revocations.nodes import ADMIN, until
from tests.integration.stored_credentials.credential_nodes import (
    CredentialNode,
    open_credential_node,
    without_table,
)

SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
async def nodes(settings: Settings) -> AsyncIterator[tuple[CredentialNode, CredentialNode]]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_credential_node(settings))
        yield first, await stack.enter_async_context(open_credential_node(settings))


async def execute(settings: Settings, statement: str, *values: object) -> None:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute(statement.encode(), values)


async def test_principal_has_what_the_row_says(nodes: tuple[CredentialNode, CredentialNode]) -> None:
    key_id, key = await nodes[0].add(
        role="participant", participant_id=SESSION, grants=[{"sessions": [SESSION, "label:cup=x"], "role": "viewer"}]
    )
    principal = await nodes[1].authenticate(key)
    assert (principal.kind, principal.subject, principal.role) == ("key", key_id, "participant")
    assert (principal.tenant, principal.participant_id, principal.address) == ("default", SESSION, "192.0.2.1")
    assert principal.actor == f"key:{key_id}"
    assert principal.grants == (
        SessionGrant(
            session_ids=frozenset((SESSION,)), labels=frozenset((("cup", "x"),)), all_sessions=False, role="viewer"
        ),
    )
    assert principal.life is not None
    assert principal.life.expires_at_ms is None


async def test_unknown_ended_expired_and_wrong_keys_are_refused_with_one_text(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode]
) -> None:
    node = nodes[0]
    ended_id, ended = await node.add()
    await node.end(ended_id)
    _, expired = await node.add(expires_at_ms=now_ms() - 1)
    other_id, other = await node.add()
    wrong = make_secret_text(other_id).text
    for refused in (ended, expired, wrong, make_secret_text().text, other[:-1], "synckairos_"):
        assert await node.refusal_of(refused) == "UNAUTHORIZED"
    with pytest.raises(Exception, match=REFUSED):
        await node.authenticate(wrong)
    assert await node.refusal_of(other) == ""


async def test_wrong_checksum_costs_no_query(settings: Settings, nodes: tuple[CredentialNode, CredentialNode]) -> None:
    _, key = await nodes[0].add()
    async with without_table(settings):
        assert await nodes[0].refusal_of(key[:-1] + ("0" if key[-1] != "0" else "1")) == "UNAUTHORIZED"
        assert await nodes[0].refusal_of(key) == "STORE_UNAVAILABLE"


async def test_cached_key_needs_no_postgres_and_ends_without_it(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode]
) -> None:
    key_id, key = await nodes[0].add()
    for node in nodes:
        assert await node.refusal_of(key) == ""
    async with without_table(settings):
        for node in nodes:
            await node.verifier.refresh()
            assert await node.refusal_of(key) == ""
        await nodes[0].node.channel.revoke(ADMIN, credential=key_id)
        await until(lambda: nodes[1].verifier.cached_count == 0)
        for node in nodes:
            assert await node.refusal_of(key) in ("UNAUTHORIZED", "STORE_UNAVAILABLE")
    for node in nodes:
        assert await node.refusal_of(key) == "UNAUTHORIZED"


async def test_both_secrets_are_valid_for_a_day_after_a_rotation(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode]
) -> None:
    node = nodes[0]
    key_id, old = await node.add()
    assert await node.refusal_of(old) == ""
    new = await node.table.rotate("default", "key", key_id, now_ms(), request_id=None)
    assert new is not None
    assert new.credential_id == key_id
    for each in nodes:
        assert [await each.refusal_of(text) for text in (old, new.text)] == ["", ""]
        principals = [await each.authenticate(text) for text in (old, new.text)]
        assert principals[0] == principals[1]
    await execute(
        settings, "UPDATE sync_credentials SET previous_until = previous_until - %s * interval '1 ms'", OVERLAP_MS
    )
    for each in nodes:
        await each.verifier.refresh()
        assert [await each.refusal_of(text) for text in (old, new.text)] == ["UNAUTHORIZED", ""]


async def test_second_rotation_ends_the_oldest_secret(nodes: tuple[CredentialNode, CredentialNode]) -> None:
    node = nodes[0]
    key_id, oldest = await node.add()
    for _ in range(2):
        await node.table.rotate("default", "key", key_id, now_ms(), request_id=None)
    assert await node.refusal_of(oldest) == "UNAUTHORIZED"


async def test_ending_a_parent_ends_its_children(nodes: tuple[CredentialNode, CredentialNode]) -> None:
    node = nodes[0]
    parent_id, _ = await node.add()
    child_id, child = await node.add(parent_id=parent_id)
    _, grandchild = await node.add(parent_id=child_id)
    for each in nodes:
        assert [await each.refusal_of(text) for text in (child, grandchild)] == ["", ""]
    await node.end(parent_id)
    await until(lambda: nodes[1].verifier.cached_count == 0)
    for each in nodes:
        assert [await each.refusal_of(text) for text in (child, grandchild)] == ["UNAUTHORIZED"] * 2


@pytest.mark.parametrize("selector", ["credential", "subject", "all"])
async def test_revoked_key_stays_ended_after_the_revocation_is_gone(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode], selector: str
) -> None:
    node = nodes[0]
    key_id, key = await node.add()
    _, other = await node.add()
    if selector == "credential":
        await node.node.channel.revoke(ADMIN, credential=key_id)
    elif selector == "subject":
        await node.node.channel.revoke(ADMIN, subject=f"key:{key_id}", issued_before_ms=now_ms() + 1)
    else:
        await node.node.channel.revoke(ADMIN, is_for_all=True, issued_before_ms=now_ms() + 1)
    await node.copy_revocations()
    async with open_credential_node(settings.model_copy(update={"key_prefix": "other"})) as without_revocations:
        assert await without_revocations.refusal_of(key) == "UNAUTHORIZED"
        assert await without_revocations.refusal_of(other) == ("UNAUTHORIZED" if selector == "all" else "")


async def test_last_use_is_stored_at_the_next_refresh(nodes: tuple[CredentialNode, CredentialNode]) -> None:
    node = nodes[0]
    _, key = await node.add()
    await node.authenticate(key)
    before = await node.table.read_page("default", "key", now_ms(), cursor=None, limit=10)
    assert before.items[0].last_used_at_ms is None
    await node.verifier.refresh()
    after = await node.table.read_page("default", "key", now_ms(), cursor=None, limit=10)
    assert after.items[0].last_used_at_ms is not None


async def test_refresh_drops_credentials_that_ended_in_the_database(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode]
) -> None:
    node = nodes[0]
    key_id, key = await node.add()
    await node.authenticate(key)
    await execute(settings, "UPDATE sync_credentials SET ended_at = now() WHERE credential_id = %s", key_id)
    await node.verifier.refresh()
    assert node.verifier.cached_count == 0
    assert await node.refusal_of(key) == "UNAUTHORIZED"


async def test_cache_is_emptied_while_the_revocations_are_not_known(settings: Settings) -> None:
    async with open_credential_node(settings, stale_after_s=-1.0) as node:
        _, key = await node.add()
        await node.verifier.verify(key, now_ms())
        assert node.verifier.cached_count == 1
        assert await node.refusal_of(key) == "STORE_UNAVAILABLE"
        await node.verifier.refresh()
        assert node.verifier.cached_count == 0


async def test_invalid_row_refuses_one_key_and_is_reported(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode], caplog: pytest.LogCaptureFixture
) -> None:
    node = nodes[0]
    key_id, key = await node.add()
    _, other = await node.add()
    for statement in ("SET role = 'root'", "SET role = 'viewer', grants = '[7]'", "SET grants = '{}'"):
        await execute(settings, f"UPDATE sync_credentials {statement} WHERE credential_id = %s", key_id)
        with caplog.at_level(logging.WARNING):
            assert await node.refusal_of(key) == "UNAUTHORIZED"
    assert await node.refusal_of(other) == ""


async def test_secret_is_in_no_column(settings: Settings, nodes: tuple[CredentialNode, CredentialNode]) -> None:
    _, key = await nodes[0].add()
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        rows = await (await database.execute("SELECT t::text FROM sync_credentials AS t")).fetchall()
    secret = key.rpartition("_")[2]
    assert secret[:20] not in repr(rows)


async def test_number_of_cached_keys_is_bounded(
    nodes: tuple[CredentialNode, CredentialNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "MAX_CACHED", 2)
    node = nodes[0]
    first, second, third = [(await node.add())[1] for _ in range(3)]
    for key in (first, second, first, third):
        await node.authenticate(key)
    assert node.verifier.cached_count == 2
    assert [node.verifier.find_cached(each, now_ms()) is None for each in (first, second, third)] == [
        False,
        True,
        False,
    ]


async def test_row_of_an_ended_key_is_deleted_after_90_days(
    settings: Settings, nodes: tuple[CredentialNode, CredentialNode]
) -> None:
    node = nodes[0]
    old_id, _ = await node.add()
    recent_id, _ = await node.add()
    valid_id, _ = await node.add()
    for key_id, days in ((old_id, 91), (recent_id, 89)):
        await execute(
            settings,
            "UPDATE sync_credentials SET ended_at = now() - %s * interval '1 day' WHERE credential_id = %s",
            days,
            key_id,
        )
    new_id, _ = await node.add()
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        rows = await (await database.execute("SELECT credential_id FROM sync_credentials")).fetchall()
    assert {row[0] for row in rows} == {recent_id, valid_id, new_id}
