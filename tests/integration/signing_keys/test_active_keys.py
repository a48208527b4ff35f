"""Signing keys on real stores: instances learn each addition and removal, also after lost messages and data loss."""

import asyncio
import base64
import hmac
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from msgspec.structs import replace

from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.errors import IdempotencyKeyReused, SigningKeyExists, StoreUnavailable, TooManySigningKeys
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.signing_keys import active_keys
from tests.background_task import start
from tests.integration.authentication import authentication_settings, now_ms
from tests.integration.realtime.store_proxy import store_proxy
from tests.integration.revocations.nodes import until
from tests.integration.signing_keys.key_nodes import announcement, new_key, open_key_node, token_of, without_table
from tests.tokens import SECRET, claims_at, sign_with_secret, signing_key

FIRST, SECOND = signing_key("ES256", "first"), signing_key("RS256", "second")
NEVER_S = 3_600.0


async def test_added_and_removed_key_reaches_each_running_instance_and_each_later_one(settings: Settings) -> None:
    async with open_key_node(settings) as here, open_key_node(settings) as there:
        made = await here.add(FIRST)
        assert await here.refusal_of(token_of(FIRST)) == ""
        await there.until_has(made)
        token = token_of(FIRST)
        assert await there.refusal_of(token) == ""
        async with open_key_node(settings) as later:
            assert later.has(made)
        await here.remove(made)
        assert here.ended == [made.signing_key_id]
        await there.until_has_not(made)
        assert there.ended == [made.signing_key_id]
        for each in (here, there):
            assert each.verifier.find_cached(token, now_ms()) is None
            assert await each.refusal_of(token) == "UNAUTHORIZED"
        async with open_key_node(settings) as later:
            assert not later.has(made)


async def test_lost_message_heals_by_the_next_check(settings: Settings) -> None:
    async with (
        store_proxy(settings.redis_url) as proxy,
        open_key_node(settings) as here,
        open_key_node(settings, proxy.url, refresh_s=NEVER_S) as there,
    ):
        proxy.loses = lambda message: b":added" in message
        made = await here.add(FIRST)
        await there.until_has(made)
        await here.remove(made)
        await there.until_has_not(made)
        assert proxy.lost == 2


async def test_flush_of_redis_loses_no_change(own_settings: Settings, own_valkey: Valkey) -> None:
    async with open_key_node(own_settings, refresh_s=NEVER_S) as here:
        removed, kept = await here.add(FIRST), await here.add(SECOND)
        await here.remove(removed)
        await here.node.pipe.call("FLUSHALL")
        await until(lambda: here.has(kept) and not here.has(removed))
        async with open_key_node(own_settings, refresh_s=NEVER_S) as later:
            assert (later.has(kept), later.has(removed)) == (True, False)


@pytest.mark.parametrize("change", ["addition", "removal"])
async def test_change_whose_announcement_is_lost_with_redis_is_found_by_the_next_read(
    own_settings: Settings, own_valkey: Valkey, change: str
) -> None:
    async with open_key_node(own_settings, refresh_s=0.2) as here:
        made = await here.add(FIRST) if change == "removal" else None
        await here.node.pipe.call("FLUSHALL")
        if made is None:
            added, _ = await here.table.add(new_key(FIRST), now_ms())
            await here.until_has(added)
        else:
            await here.table.remove("default", made.signing_key_id, now_ms())
            await here.until_has_not(made)
            assert here.ended == [made.signing_key_id]


async def test_removal_has_an_effect_although_postgres_is_away(settings: Settings) -> None:
    async with open_key_node(settings) as here, open_key_node(settings) as there:
        made, kept = await here.add(FIRST), await here.add(SECOND)
        await there.until_has(kept)
        await there.until_has(made)
        async with without_table(settings) as restore:
            await here.node.store.append([announcement(made.signing_key_id, is_removal=True)])
            await there.until_has_not(made)
            assert await there.refusal_of(token_of(FIRST)) == "UNAUTHORIZED"
            assert await there.refusal_of(token_of(SECOND)) == "", "the last good set serves"
            await restore()


async def test_read_that_began_before_a_removal_does_not_bring_the_key_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_key_node(settings, refresh_s=NEVER_S) as here:
        made = await here.add(FIRST)
        read, has_read, may_answer = here.table.read_all, asyncio.Event(), asyncio.Event()

        async def read_late() -> Any:
            rows = await read()
            has_read.set()
            await may_answer.wait()
            return rows

        monkeypatch.setattr(here.table, "read_all", read_late)
        reading = asyncio.create_task(here.keys.refresh())
        await has_read.wait()
        await here.remove(made)
        may_answer.set()
        assert await reading
        assert not here.has(made)


async def test_key_that_is_announced_during_a_read_is_read_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_key_node(settings) as here, open_key_node(settings, runs=False) as there:
        read, has_read, may_answer = there.table.read_all, asyncio.Event(), asyncio.Event()

        async def read_late() -> Any:
            rows = await read()
            has_read.set()
            await may_answer.wait()
            return rows

        monkeypatch.setattr(there.table, "read_all", read_late)
        reading = asyncio.create_task(there.keys.refresh())
        await has_read.wait()
        made = await here.add(FIRST)
        await until(lambda: not there.keys.is_complete)
        waiting = await start(there.refusal_of(token_of(FIRST)))
        may_answer.set()
        assert await reading
        assert await waiting == ""
        assert there.has(made)


async def test_token_waits_for_a_key_that_was_announced(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_key_node(settings) as here, open_key_node(settings) as there:
        read, may_read = there.table.read_all, asyncio.Event()

        async def read_when_allowed() -> Any:
            await may_read.wait()
            return await read()

        monkeypatch.setattr(there.table, "read_all", read_when_allowed)
        await here.add(FIRST)
        await until(lambda: not there.keys.is_complete)
        waiting = [await start(there.refusal_of(token_of(FIRST, jti=f"t{n}"))) for n in range(5)]
        waiting[0].cancel()  # a caller that leaves does not end the read of the others
        may_read.set()
        assert await asyncio.gather(*waiting[1:]) == [""] * 4


async def test_instance_that_starts_without_postgres_decides_only_about_tokens_that_need_no_signing_key(
    settings: Settings,
) -> None:
    public = signing_key("EdDSA", "settings")
    with_key = settings.model_copy(update={"jwt_public_key": public.pem})
    async with open_key_node(settings) as before:
        await before.add(FIRST)
    async with without_table(settings) as restore, open_key_node(with_key) as here:
        assert not here.keys.is_complete
        expected = {
            sign_with_secret(claims_at(now_ms())): "",
            sign_with_secret(claims_at(now_ms()), "x" * 32): "UNAUTHORIZED",
            token_of(public, kid="any"): "",
            token_of(public, kid=None): "KEYS_UNAVAILABLE",  # a signing key could have this algorithm too
            token_of(FIRST): "KEYS_UNAVAILABLE",
            token_of(SECOND): "KEYS_UNAVAILABLE",
        }
        assert {token: await here.refusal_of(token) for token in expected} == expected
        await restore()
        await until(lambda: here.keys.is_complete)
        assert await here.refusal_of(token_of(FIRST)) == ""
        assert await here.refusal_of(token_of(public, kid=None)) == ""
        assert await here.refusal_of(token_of(SECOND)) == "UNAUTHORIZED"


async def test_tokens_cause_no_read_just_after_a_failed_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active_keys, "RETRY_FOR_TOKEN_S", NEVER_S)
    async with open_key_node(settings, runs=False) as here:
        await here.node.store.append([announcement(str(uuid4()), is_removal=False)])
        await until(lambda: not here.keys.is_complete)
        reads = 0

        async def fail() -> Any:
            nonlocal reads
            reads += 1
            raise StoreUnavailable("Postgres is not reachable; try again shortly")

        monkeypatch.setattr(here.table, "read_all", fail)
        assert [await here.refusal_of(token_of(FIRST, jti=f"t{n}")) for n in range(20)] == ["KEYS_UNAVAILABLE"] * 20
        assert reads == 1


async def test_token_without_key_id_needs_exactly_one_key_of_its_algorithm(settings: Settings) -> None:
    async with open_key_node(settings) as here:
        await here.add(FIRST)
        assert await here.refusal_of(token_of(FIRST, kid=None)) == ""
        await here.add(SECOND)
        assert await here.refusal_of(token_of(FIRST, kid=None, jti="2")) == ""
        other = await here.add(signing_key("ES256", "other"))
        assert await here.refusal_of(token_of(FIRST, kid=None, jti="3")) == "UNAUTHORIZED"
        await here.remove(other)
        assert await here.refusal_of(token_of(FIRST, kid=None, jti="4")) == ""


async def test_key_with_the_id_of_another_key_does_not_exclude_the_other_key(settings: Settings) -> None:
    """A tenant can name its key like the tokens of the key in the settings."""
    public = signing_key("ES256", "settings")
    verifier = TokenVerifier.from_settings(
        authentication_settings(settings.model_copy(update={"jwt_public_key": public.pem}))
    )
    async with open_key_node(settings, verifier=verifier) as here:
        await here.add(FIRST)
        for key in (public, FIRST):
            assert await here.refusal_of(token_of(key, kid=FIRST.key_id)) == ""


async def test_key_is_fixed_to_its_tenant_its_issuer_and_its_algorithm(settings: Settings) -> None:
    foreign = signing_key("EdDSA", "foreign")
    async with open_key_node(settings) as here:
        await here.add(SECOND, issuer="https://id.example.org")
        await here.add(foreign, tenant="school-b")
        assert await here.refusal_of(token_of(SECOND, iss="https://id.example.org")) == ""
        assert await here.refusal_of(token_of(SECOND)) == "UNAUTHORIZED"
        assert await here.refusal_of(token_of(SECOND, iss="https://id.example.org", tenant="b")) == "UNAUTHORIZED"
        assert await here.refusal_of(token_of(foreign, tenant="default", role="admin")) == "UNAUTHORIZED"
        assert (await here.verifier.verify(token_of(foreign), now_ms())).tenant == "school-b"
        # The text of a public key is known to everyone, so it must never serve as a secret.
        for secret in (SECOND.pem, SECOND.pem.strip(), SECRET + SECOND.pem):
            confused = sign_with_text(claims_at(now_ms()), secret, kid=SECOND.key_id)
            assert await here.refusal_of(confused) == "UNAUTHORIZED"


async def test_invalid_rows_are_reported_and_have_no_effect(settings: Settings) -> None:
    async with open_key_node(settings, refresh_s=NEVER_S) as here:
        made = await here.add(FIRST)
        for kid, algorithm, pem in (("garbage", "ES256", "x"), ("other", "RS256", FIRST.pem), ("hs", "HS256", SECRET)):
            await here.table.add(replace(new_key(FIRST), kid=kid, algorithm=algorithm, pem=pem), now_ms())
        assert await here.keys.refresh()
        assert [key.name for key in here.keys.keys] == [made.signing_key_id]
        await here.node.store.append([b'{"kind": "signing_key_added", "id": 1, "tenant": "t", "at": 1, "until": 9e99}'])
        assert here.has(made)


# -- the table --------------------------------------------------------------------------------------------------------


async def test_only_one_of_several_instances_adds_a_kid(settings: Settings) -> None:
    async with open_key_node(settings) as here, open_key_node(settings) as there:
        keys = [signing_key("ES256", "first"), signing_key("EdDSA", "first")] * 4
        results = await asyncio.gather(
            *((here, there)[n % 2].keys.add(new_key(key)) for n, key in enumerate(keys)), return_exceptions=True
        )
        made = [each for each in results if not isinstance(each, BaseException)]
        assert len(made) == 1
        assert {type(each) for each in results if isinstance(each, BaseException)} == {SigningKeyExists}
        await here.remove(made[0][0])
        await there.add(FIRST)  # the kid of a removed key can be used again
        await there.add(FIRST, tenant="school-b")  # and each tenant has its own ids


async def test_maximum_number_of_keys_holds_for_each_tenant_and_concurrent_additions(settings: Settings) -> None:
    async with open_key_node(settings, max_keys=3) as here:
        keys = [signing_key("EdDSA", f"k{n}") for n in range(6)]
        results = await asyncio.gather(*(here.add(key) for key in keys), return_exceptions=True)
        made = [each for each in results if not isinstance(each, BaseException)]
        assert len(made) == 3
        assert {type(each) for each in results if isinstance(each, BaseException)} == {TooManySigningKeys}
        await here.add(keys[0], tenant="school-b")
        await here.remove(made[0])
        await here.add(signing_key("EdDSA", "next"))


async def test_repeated_request_adds_one_key(settings: Settings) -> None:
    async with open_key_node(settings) as here, open_key_node(settings) as there:
        results = await asyncio.gather(
            *(each.keys.add(new_key(FIRST, request_id="r1")) for each in (here, there) for _ in range(3))
        )
        assert sorted(is_replay for _, is_replay in results) == [False, *[True] * 5]
        assert len({key.signing_key_id for key, _ in results}) == 1
        with pytest.raises(IdempotencyKeyReused):
            await here.keys.add(new_key(SECOND, request_id="r1"))
        assert len((await here.node.store.read_all()).entries) == 1, "one addition is announced with one entry"


async def test_removal_can_be_repeated_after_its_announcement_failed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_key_node(settings) as here, open_key_node(settings, refresh_s=NEVER_S) as there:
        made = await here.add(FIRST)
        await there.until_has(made)
        append = here.node.channel.append

        async def fail(_: object) -> None:
            raise StoreUnavailable("Redis is not reachable; try again shortly")

        monkeypatch.setattr(here.node.channel, "append", fail)
        with pytest.raises(StoreUnavailable):
            await here.remove(made)
        assert not here.has(made)
        assert there.has(made)
        monkeypatch.setattr(here.node.channel, "append", append)
        await here.remove(made)
        await there.until_has_not(made)
        await here.remove(made)
        assert len((await here.node.store.read_all()).entries) == 2, "one addition and one removal"


async def test_removed_row_is_deleted_after_a_day(settings: Settings) -> None:
    async with open_key_node(settings) as here:
        old, new = await here.add(FIRST), await here.add(SECOND)
        await here.remove(old)
        await here.remove(new)
        async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
            await database.execute(
                "UPDATE sync_signing_keys SET removed_at = now() - interval '25 hours' WHERE kid = 'first'"
            )
            await here.add(signing_key("EdDSA", "next"))
            found = await (await database.execute("SELECT kid FROM sync_signing_keys ORDER BY kid")).fetchall()
        assert found == [("next",), ("second",)]


async def test_removal_of_a_key_of_another_tenant_has_no_effect(settings: Settings) -> None:
    async with open_key_node(settings) as here:
        foreign = await here.add(FIRST, tenant="school-b")
        await here.remove(foreign)
        assert here.has(foreign)
        assert (await here.table.read_page("default", cursor=None, limit=10)).items == ()


def sign_with_text(claims: dict[str, Any], secret: str, **header: str) -> str:
    """Sign with HS256. PyJWT refuses to sign with the text of a public key."""
    parts = [orjson.dumps({"alg": "HS256", "typ": "JWT", **header}), orjson.dumps(claims)]
    text = b".".join(_encode(each) for each in parts)
    return (text + b"." + _encode(hmac.digest(secret.encode(), text, "sha256"))).decode()


def _encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")
