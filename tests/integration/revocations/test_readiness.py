"""`/ready` and the revocations: an instance that does not know all of them accepts no credential and is not ready."""

import psycopg
from pydantic import SecretStr

from synckairos.config import Settings
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.credential_ends import CredentialEnds
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.revocations.nodes import open_node, until

METRICS_TOKEN = "scrape-0123456789-0123456789-0123456789"
REASON = "the revocations are not known"
NOT_READY = {"status": "not_ready", "reason": REASON, "error": REASON}


async def readiness(server: RestServer) -> tuple[int, object]:
    answer = await server.client.get("/ready", headers=bearer(METRICS_TOKEN))
    return answer.status_code, answer.json()


async def status_with_token(server: RestServer) -> int:
    return (await server.client.get("/v1/sessions", headers=bearer(make_token(role="admin")))).status_code


async def test_instance_is_ready_when_it_knows_the_revocations_and_not_before(own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"metrics_token": SecretStr(METRICS_TOKEN)})
    async with open_node(settings) as node:
        now_ms = node.subscriber.server_time.now_ms
        channel = ControlChannel(
            node.store,
            node.table,
            node.subscriber,
            now_ms,
            max_credential_life_s=86_400,
            stale_after_s=0.5,
            check_s=0.1,
        )
        ends = CredentialEnds(now_ms, channel)
        guard = make_authenticator(settings, refuse_ended=ends.require_not_revoked)
        async with open_rest_server(
            settings, authenticator=guard, control_channel=channel, credential_ends=ends
        ) as server:
            assert await readiness(server) == (503, NOT_READY)
            assert (await server.client.get("/ready")).json() == {"status": "not_ready"}
            assert await status_with_token(server) == 503
            assert (await server.client.get("/health")).status_code == 200
            await channel.load()
            assert await readiness(server) == (200, {"status": "ready"})
            assert await status_with_token(server) == 200


async def test_instance_is_not_ready_from_data_loss_until_postgres_was_read(own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"metrics_token": SecretStr(METRICS_TOKEN)})
    async with (
        open_node(settings, stale_after_s=0.5) as node,
        open_rest_server(settings, control_channel=node.channel) as server,
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database,
    ):
        assert await readiness(server) == (200, {"status": "ready"})
        await database.execute("ALTER TABLE sync_revocations RENAME TO away")
        await node.pipe.call("FLUSHALL")
        await until(lambda: not node.channel.is_current)
        assert await readiness(server) == (503, NOT_READY)
        await database.execute("ALTER TABLE away RENAME TO sync_revocations")
        await until(lambda: node.channel.is_current)
        assert await readiness(server) == (200, {"status": "ready"})
