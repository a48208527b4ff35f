"""Open sockets with credentials while their instance cannot reach Redis."""

import time

from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.instances import CredentialLifeOptions, serving, watching
from tests.integration.realtime.store_proxy import store_proxy
from tests.integration.realtime.test_credential_life import ADMIN, end_of, signed_in
from tests.waiting import eventually

LIFE = CredentialLifeOptions()
NOWHERE = "redis://127.0.0.1:1"


async def test_sockets_stay_open_expire_in_time_and_learn_a_revocation_after_the_outage(settings: Settings) -> None:
    async with store_proxy(settings.redis_url) as proxy:
        behind_proxy = settings.model_copy(update={"redis_url": proxy.url, "redis_timeout_s": 0.5})
        async with (
            serving(behind_proxy, credential_life=LIFE) as cut_off,
            serving(settings, credential_life=LIFE) as other,
        ):
            session_id = await other.create()
            token = make_token(role="admin", jti="revoked")
            async with (
                signed_in(cut_off, make_token(role="admin", exp=time.time() + 3)) as expiring,
                signed_in(cut_off) as client,
                signed_in(cut_off, token) as revoked,
                watching(cut_off, session_id, additional_headers=bearer(token)) as v2,
            ):
                assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
                proxy.target_url = NOWHERE
                proxy.cut()
                await other.revocations.revoke(ADMIN, token_id="revoked")
                refused = await client.request("COMMAND", session_id=session_id, command="start")
                assert refused["code"] == "STORE_UNAVAILABLE"
                refused = await client.request("SUBSCRIBE", session_id=session_id)
                assert refused["code"] == "STORE_UNAVAILABLE"
                assert await end_of(expiring.socket) == (4005, "token_expired", [])
                assert (await revoked.request("PING", t0=1))["type"] == "PONG"

                proxy.target_url = settings.redis_url
                assert await end_of(revoked.socket) == (4501, "revoked", [])
                assert (await end_of(v2))[:2] == (1008, "revoked")

                async def is_subscribed() -> bool:
                    answer = await client.request("SUBSCRIBE", session_id=session_id)
                    return bool(answer["type"] == "STATE_SYNC")

                await eventually(is_subscribed)
