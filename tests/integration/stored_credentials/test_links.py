"""Links and session tokens: uses, ends, idle expiry, and stores that are away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.errors import RateLimitExceeded, TooManyCredentials
from synckairos.identity.secret_text import make_secret_text
from synckairos.postgres.pool import PostgresPool
from synckairos.stored_credentials.revoked_credentials import end_revoked_credentials
from synckairos.stored_credentials.session_tokens import LINK_IDLE_S, SIGN_IN_IDLE_S, SIGN_IN_LIFE_S
from synckairos.stored_credentials.table import CredentialTable
from synckairos.stored_credentials.verifier import LINK_REFUSED
from tests.integration.authentication import now_ms
from tests.integration.revocations.nodes import ADMIN, until
from tests.integration.stored_credentials.credential_nodes import (
    SESSION,
    CredentialNode,
    link_fields,
    new_key,
    open_credential_node,
    without_table,
)

Nodes = tuple[CredentialNode, CredentialNode]
REFUSAL = f"UNAUTHORIZED: {LINK_REFUSED}"


@pytest.fixture
async def nodes(settings: Settings) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_credential_node(settings))
        yield first, await stack.enter_async_context(open_credential_node(settings))


async def execute(settings: Settings, statement: str, *values: object) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        cursor = await database.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def test_each_redemption_gives_a_principal_of_its_own(nodes: Nodes) -> None:
    link_id, secret = await nodes[0].add_link(role="participant", participant_id=SESSION)
    tokens = [await node.redeem(secret) for node in nodes]
    for number, token in enumerate(tokens, start=1):
        for node in nodes:
            principal = await node.authenticate(token)
            assert (principal.kind, principal.subject) == ("link", f"{link_id}:{number}")
            assert principal.actor == f"link:{link_id}:{number}"
            assert (principal.role, principal.participant_id) == ("participant", SESSION)
            assert principal.role_on(SESSION, ()) == "participant"
            assert principal.role_on(link_id, ()) is None


async def test_token_has_the_tenant_of_its_link(nodes: Nodes) -> None:
    link_id, secret = await nodes[0].add_link(tenant="acme")
    principal = await nodes[1].authenticate(await nodes[0].redeem(secret))
    assert (principal.tenant, principal.subject) == ("acme", f"{link_id}:1")
    assert await nodes[0].table.end("default", "link", link_id, now_ms()) == []
    assert await nodes[0].table.read_link_session("default", link_id) is None


async def test_unknown_used_up_ended_expired_and_revoked_links_are_refused_with_one_text(nodes: Nodes) -> None:
    node = nodes[0]
    _, spent = await node.add_link(max_uses=1)
    await node.redeem(spent)
    ended_id, ended = await node.add_link()
    await node.end(ended_id, "link")
    _, expired = await node.add_link(expires_at_ms=now_ms() - 1)
    revoked_id, revoked = await node.add_link()
    await node.node.channel.revoke(ADMIN, credential=revoked_id)
    other_id, other = await node.add_link()
    _, key = await node.add()
    texts = (spent, ended, expired, revoked, make_secret_text(other_id).text, make_secret_text().text, key, other[:-1])
    assert {await node.redemption_refusal_of(each) for each in (*texts, "synckairos_", "x")} == {REFUSAL}
    assert await node.redemption_refusal_of(other) == ""


async def test_link_is_not_accepted_in_place_of_its_token(nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link()
    assert await nodes[0].refusal_of(secret) == "UNAUTHORIZED"
    assert await nodes[0].refusal_of(await nodes[0].redeem(secret)) == ""


async def test_exactly_max_uses_of_50_concurrent_redemptions_win(nodes: Nodes) -> None:
    link_id, secret = await nodes[0].add_link(max_uses=7)
    refusals = await asyncio.gather(*(nodes[at % 2].redemption_refusal_of(secret) for at in range(50)))
    assert sorted(refusals) == [""] * 7 + [REFUSAL] * 43
    page = await nodes[0].table.read_page("default", "link", now_ms(), cursor=None, limit=10)
    assert [(each.credential_id, each.uses) for each in page.items] == [(link_id, 7)]


@pytest.mark.parametrize("way", ["end", "credential", "all"])
async def test_end_of_a_link_ends_its_tokens_on_all_instances(settings: Settings, nodes: Nodes, way: str) -> None:
    node = nodes[0]
    link_id, secret = await node.add_link()
    token = await node.redeem(secret)
    for each in nodes:
        assert await each.refusal_of(token) == ""
    if way == "end":
        await node.end(link_id, "link")
    elif way == "credential":
        await node.node.channel.revoke(ADMIN, credential=link_id)
    else:
        await node.node.channel.revoke(ADMIN, is_for_all=True, issued_before_ms=now_ms() + 1)
    await until(lambda: nodes[1].verifier.cached_count == 0)
    assert [await each.refusal_of(token) for each in nodes] == ["UNAUTHORIZED"] * 2
    assert {await each.redemption_refusal_of(secret) for each in nodes} == {REFUSAL}
    await node.copy_revocations()
    async with open_credential_node(settings.model_copy(update={"key_prefix": "other"})) as without_revocations:
        assert await without_revocations.refusal_of(token) == "UNAUTHORIZED"
        assert await without_revocations.redemption_refusal_of(secret) == REFUSAL


async def test_token_of_a_redemption_after_a_revocation_of_all_is_covered(nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link()
    token = await nodes[1].redeem(secret)
    principal = await nodes[1].authenticate(token)
    assert principal.life is not None
    assert principal.life.issued_at_ms is not None
    # As if the revocation had not arrived at this instance before the redemption.
    await nodes[0].node.channel.revoke(ADMIN, is_for_all=True, issued_before_ms=principal.life.issued_at_ms + 1)
    await until(lambda: nodes[1].verifier.cached_count == 0)
    assert await nodes[1].refusal_of(token) == "UNAUTHORIZED"


async def test_one_token_is_revoked_without_the_others(settings: Settings, nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link()
    left, kept = [await nodes[0].redeem(secret) for _ in range(2)]
    principal = await nodes[1].authenticate(left)
    assert principal.life is not None
    await nodes[0].node.channel.revoke(ADMIN, token_id=principal.life.token_id)
    await until(lambda: nodes[1].verifier.cached_count == 0)
    assert [await nodes[1].refusal_of(each) for each in (left, kept)] == ["UNAUTHORIZED", ""]
    await nodes[0].copy_revocations()
    async with open_credential_node(settings.model_copy(update={"key_prefix": "other"})) as without_revocations:
        assert [await without_revocations.refusal_of(each) for each in (left, kept)] == ["UNAUTHORIZED", ""]


async def test_link_that_a_link_made_ends_with_it(nodes: Nodes) -> None:
    parent_id, parent = await nodes[0].add_link(role="controller", expires_at_ms=now_ms() + 60_000)
    _, child = await nodes[0].add_link(parent_id=parent_id, expires_at_ms=now_ms() + 3_600_000)
    token = await nodes[1].redeem(child)
    principal = await nodes[1].authenticate(token)
    assert principal.life is not None
    assert principal.life.expires_at_ms is not None
    assert principal.life.expires_at_ms <= now_ms() + 60_000
    await nodes[0].end(parent_id, "link")
    await until(lambda: nodes[1].verifier.cached_count == 0)
    assert await nodes[1].refusal_of(token) == "UNAUTHORIZED"
    assert {await nodes[1].redemption_refusal_of(each) for each in (parent, child)} == {REFUSAL}
    with pytest.raises(Exception, match="The credential has ended"):
        await nodes[0].add_link(parent_id=parent_id)


@pytest.mark.parametrize(
    ("selector", "by"), [("credential", "instance"), ("subject", "instance"), ("credential", "worker")]
)
async def test_revocation_of_a_key_is_announced_for_the_links_below_it(nodes: Nodes, selector: str, by: str) -> None:
    node, other = nodes
    key_id, _ = await node.add()
    parent_id, _ = await node.add_link(parent_id=key_id)
    child_id, secret = await node.add_link(parent_id=parent_id)
    _, unrelated = await node.add_link()
    tokens = [await node.redeem(each) for each in (secret, unrelated)]
    assert [await other.refusal_of(each) for each in tokens] == ["", ""]
    if selector == "credential":
        made = await node.node.channel.revoke(ADMIN, credential=key_id)
    else:
        made = await node.node.channel.revoke(ADMIN, subject=f"key:{key_id}", issued_before_ms=now_ms() + 1)
    if by == "worker":
        await node.copy_revocations()
    else:
        await end_revoked_credentials(node.table, node.node.channel, made)
    await until(lambda: other.verifier.cached_count == 1)  # without a refresh of the cache
    assert [await other.refusal_of(each) for each in tokens] == ["UNAUTHORIZED", ""]

    announced = other.node.channel.list_revocations("default")
    assert {each.credential for each in announced} >= {parent_id, child_id}
    for _ in range(2):  # a copier that begins again adds nothing
        await node.copy_revocations()
    await other.node.channel.load()
    assert len(other.node.channel.list_revocations("default")) == len(announced) == 3


async def test_own_end_of_a_credential_is_announced_first(nodes: Nodes) -> None:
    key_id, _ = await nodes[0].add()
    below = {(await nodes[0].add_link(parent_id=key_id))[0] for _ in range(9)}
    first, *others = await nodes[0].table.end("default", "key", key_id, now_ms())
    assert (first, set(others)) == (key_id, below)


async def test_token_expires_after_its_last_use_and_with_its_link(settings: Settings, nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link(expires_at_ms=now_ms() + 10 * LINK_IDLE_S * 1000)
    token = await nodes[0].redeem(secret)
    await execute(settings, "UPDATE sync_credentials SET expires_at = now() + interval '1 hour' WHERE kind = 'session'")
    principal = await nodes[1].authenticate(token)  # a use, which is stored later
    assert principal.life is not None
    assert principal.life.expires_at_ms is not None
    assert abs(principal.life.expires_at_ms - now_ms() - LINK_IDLE_S * 1000) < 60_000
    await nodes[1].verifier.refresh()
    ((left_s,),) = await execute(
        settings,
        "SELECT extract(epoch FROM expires_at - now())::integer FROM sync_credentials WHERE kind = 'session'",
    )
    assert abs(left_s - LINK_IDLE_S) < 60
    await execute(settings, "UPDATE sync_credentials SET expires_at = now() WHERE kind = 'session'")
    async with open_credential_node(settings) as restarted:
        assert await restarted.refusal_of(token) == "UNAUTHORIZED"


async def test_cached_token_expires_while_it_is_not_used(nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link(expires_at_ms=now_ms() + 10 * LINK_IDLE_S * 1000)
    token = await nodes[0].redeem(secret)
    verifier, idle_ms = nodes[0].verifier, LINK_IDLE_S * 1000
    at_ms = now_ms()
    for _ in range(3):  # each use moves the end
        at_ms += idle_ms - 100_000
        assert verifier.find_cached(token, at_ms) is not None
    assert verifier.find_cached(token, at_ms + idle_ms + 1) is None


async def test_sign_in_is_used_once_and_its_token_outlives_it(settings: Settings, nodes: Nodes) -> None:
    login_id, secret = await nodes[0].add_link(
        kind="login", role="admin", grants=(), session_id=None, max_uses=1, expires_at_ms=now_ms() + 600_000
    )
    token = await nodes[0].redeem(secret)
    assert await nodes[1].redemption_refusal_of(secret) == REFUSAL
    principal = await nodes[1].authenticate(token)
    assert (principal.role, principal.subject) == ("admin", f"{login_id}:1")
    assert principal.life is not None
    assert principal.life.expires_at_ms is not None
    assert abs(principal.life.expires_at_ms - now_ms() - SIGN_IN_IDLE_S * 1000) < 60_000
    assert nodes[1].verifier.find_cached(token, now_ms() + SIGN_IN_LIFE_S * 1000 + 1_000) is None


async def test_links_after_a_restart_and_while_postgres_is_away(settings: Settings, nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link(max_uses=2)
    token = await nodes[0].redeem(secret)
    async with open_credential_node(settings) as restarted:
        assert await restarted.refusal_of(token) == ""
        async with without_table(settings):
            for node in (*nodes, restarted):
                assert (await node.redemption_refusal_of(secret)).startswith("STORE_UNAVAILABLE")
                assert (await node.redemption_refusal_of(secret[:-1])) == REFUSAL  # a wrong checksum costs no query
            assert [await node.refusal_of(token) for node in (*nodes, restarted)] == ["", "STORE_UNAVAILABLE", ""]
        assert await restarted.redemption_refusal_of(secret) == ""


async def test_no_token_is_given_while_revocations_are_not_known(settings: Settings) -> None:
    async with open_credential_node(settings, stale_after_s=-1.0) as node:
        _, secret = await node.add_link()
        assert (await node.redemption_refusal_of(secret)).startswith("STORE_UNAVAILABLE")
        ((uses,),) = await execute(settings, "SELECT uses FROM sync_credentials WHERE kind = 'link'")
        assert uses == 0


async def test_redemption_costs_one_query_and_its_token_none(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = await nodes[0].add_link()
    trips = 0
    fetch = PostgresPool.fetch

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal trips
        trips += 1
        return await fetch(*arguments, **options)

    monkeypatch.setattr(PostgresPool, "fetch", counted)
    token = await nodes[0].redeem(secret)
    assert trips == 1
    for node, expected in ((nodes[0], 1), (nodes[0], 1), (nodes[1], 2), (nodes[1], 2)):
        assert await node.refusal_of(token) == ""
        assert trips == expected
    for refused in (make_secret_text().text, make_secret_text(secret.split("_")[1]).text):
        before = trips
        assert await nodes[0].redemption_refusal_of(refused) == REFUSAL
        assert trips == before + 1


async def test_refused_links_of_one_address_are_limited_and_successes_are_not(nodes: Nodes) -> None:
    node = nodes[0]
    _, secret = await node.add_link(max_uses=1_000)
    for _ in range(100):
        await node.redeem(secret, "192.0.2.9")
    for _ in range(60):
        assert await node.redemption_refusal_of("x") == REFUSAL
    assert (await node.redemption_refusal_of("x")).startswith("RATE_LIMIT_EXCEEDED")
    with pytest.raises(RateLimitExceeded):
        await node.redeem(secret)
    await node.redeem(secret, "192.0.2.9")


async def test_secrets_are_in_no_column(settings: Settings, nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link()
    token = await nodes[0].redeem(secret)
    rows = repr(await execute(settings, "SELECT t::text FROM sync_credentials AS t"))
    for text in (secret, token):
        assert text.rpartition("_")[2][:20] not in rows


async def test_number_of_links_is_bounded_and_old_rows_are_deleted(settings: Settings, nodes: Nodes) -> None:
    async with PostgresPool(settings.database_url, "test", max_connections=1) as pool:
        table = CredentialTable(pool, max_links=2)
        for _ in range(2):
            await table.add(new_key(**link_fields()), now_ms())
        with pytest.raises(TooManyCredentials, match="At most 2 valid credentials of the kind link"):
            await table.add(new_key(**link_fields()), now_ms())
        await execute(settings, "UPDATE sync_credentials SET expires_at = now() - interval '91 days'")
        await table.add(new_key(**link_fields()), now_ms())
    assert await execute(settings, "SELECT count(*) FROM sync_credentials") == [(1,)]


async def test_rows_of_expired_tokens_are_deleted_by_later_redemptions(settings: Settings, nodes: Nodes) -> None:
    _, secret = await nodes[0].add_link()
    for _ in range(3):
        await nodes[0].redeem(secret)
    await execute(
        settings, "UPDATE sync_credentials SET expires_at = now() - interval '25 hours' WHERE kind = 'session'"
    )
    await nodes[0].redeem(secret)
    assert await execute(settings, "SELECT count(*) FROM sync_credentials WHERE kind = 'session'") == [(1,)]
