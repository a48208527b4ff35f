"""Connections to Redis: every option of a URL works in the shared connection, in redis-py and in arq."""

import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from synckairos.audit.drain_wakeups import make_arq_client
from synckairos.store.connect import check_store_settings, make_redis_client
from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry import log
from tests.certificates import Certificates, create_certificates
from tests.redis_server import RedisServer, running_redis, running_valkey
from tests.waiting import eventually


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return create_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("tls"), certificates) as server:
        yield server


@pytest.fixture(scope="module", params=["redis", "valkey"])
def own_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start a store for the tests that change its users."""
    run = running_redis if request.param == "redis" else running_valkey
    with run(tmp_path_factory.mktemp(request.param)) as server:
        yield server


async def check_all_connections(url: str) -> None:
    """Send a command through each kind of connection."""
    async with RedisPipe(url, 1) as pipe:
        assert await pipe.call("PING") == b"PONG"
    async with make_redis_client(url, 1) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe("sk:a")
        assert (await pubsub.get_message(timeout=1))["type"] == "subscribe"
    queue = make_arq_client(url, "sk", 1)
    assert await queue.enqueue_job("nothing") is not None
    await queue.aclose(close_connection_pool=True)


async def errors_of_all_connections(url: str) -> list[str]:
    """Return the text of the error that each kind of connection raises.

    On a busy machine, the text can be that of a timeout, so the caller tries again.
    """
    errors = []
    async with RedisPipe(url, 0.3) as pipe:
        with pytest.raises(RedisConnectionError) as caught:
            await pipe.call("PING")
        errors.append(str(caught.value))
    for client in (make_redis_client(url, 1), make_arq_client(url, "sk", 1)):
        with pytest.raises(RedisConnectionError) as caught:
            await client.ping()
        errors.append(str(caught.value))
        await client.aclose(close_connection_pool=True)
    return errors


@pytest.mark.parametrize(
    "options",
    ["ssl_ca_certs={ca}", "ssl_cert_reqs=none", "ssl_ca_certs={ca}&ssl_cert_reqs=optional&ssl_check_hostname=false"],
)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_tls_server_is_accepted(tls: RedisServer, certificates: Certificates, host: str, options: str) -> None:
    client = f"ssl_certfile={certificates.client}&ssl_keyfile={certificates.client_key}"
    await check_all_connections(
        f"rediss://{host}:{tls.port}/0?{options.format(ca=certificates.authority)}&{client}",
    )


async def test_tls_server_with_a_certificate_for_another_name_is_refused_unless_the_name_is_not_checked(
    tls: RedisServer, certificates: Certificates
) -> None:
    client = f"ssl_certfile={certificates.client}&ssl_keyfile={certificates.client_key}"
    url = f"rediss://127.1:{tls.port}/0?ssl_ca_certs={certificates.authority}&{client}"

    async def is_reason_named() -> bool:
        return all("127.1" in error and "VERIFY_FAILED" in error for error in await errors_of_all_connections(url))

    await eventually(is_reason_named)
    await check_all_connections(f"{url}&ssl_check_hostname=false")


async def test_tls_server_of_an_unknown_authority_is_refused(tls: RedisServer) -> None:
    async def is_reason_named() -> bool:
        errors = await errors_of_all_connections(f"rediss://localhost:{tls.port}/0")
        return all("CERTIFICATE_VERIFY_FAILED" in error for error in errors)

    await eventually(is_reason_named)


async def test_client_without_the_certificate_that_the_server_requires_is_refused_with_the_reason(
    tls: RedisServer, certificates: Certificates
) -> None:
    async def is_reason_named() -> bool:
        errors = await errors_of_all_connections(f"rediss://localhost:{tls.port}?ssl_ca_certs={certificates.authority}")
        return "CERTIFICATE_REQUIRED" in errors[0].upper()

    # With TLS 1.3 the server sends the reason after the handshake. The reset of the connection can overtake the reason.
    await eventually(is_reason_named)


async def test_renewed_certificates_are_used_without_a_restart(
    tls: RedisServer, certificates: Certificates, tmp_path: Path
) -> None:
    client = tmp_path / "client.pem"
    client.write_bytes(certificates.client.read_bytes() + certificates.client_key.read_bytes())
    url = f"rediss://localhost:{tls.port}?ssl_ca_certs={certificates.authority}&ssl_certfile={client}"
    async with RedisPipe(url, 1) as pipe, make_redis_client(url, 1) as redis:
        assert await pipe.call("PING")
        assert await redis.ping()
        client.unlink()
        await redis.connection_pool.disconnect()
        with pytest.raises(RedisConnectionError, match="No such file"):
            await redis.ping()


async def test_plain_ports_and_unix_sockets_are_accepted(own_store: RedisServer) -> None:
    for url in (
        f"redis://127.0.0.1:{own_store.port}",
        f"redis://[::1]:{own_store.port}/3",
        f"unix://{own_store.socket}?db=1",
    ):
        await check_all_connections(url)


@pytest.mark.parametrize("password", ["p@ss/word#?%&+", "ä", "p:p"])
async def test_user_with_a_percent_encoded_password_is_accepted(own_store: RedisServer, password: str) -> None:
    with own_store.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "u:ser", "reset", "on", f">{password}", "~*", "&*", "+@all")
    user = f"u%3Aser:{quote(password, safe='')}"
    await check_all_connections(f"redis://{user}@127.0.0.1:{own_store.port}")
    await check_all_connections(f"unix://{user}@{own_store.socket}?db=1")


@pytest.mark.parametrize(("store", "queue"), [(True, True), (True, False), (False, True)])
async def test_each_missing_permission_is_found_and_no_other(own_store: RedisServer, store: bool, queue: bool) -> None:
    permissions = Permissions(Keys(), store=store, queue=queue, db=1)
    rule = permissions.render_acl_rule("narrow").replace(">PASSWORD", ">p").split(" ")
    words = {f"+{command}": f"-{command}" for command in permissions.redis_commands}
    words |= {"~sk:*": "resetkeys", "&sk:*": "resetchannels"}
    with own_store.admin() as admin:
        for word, revocation in words.items():
            if word not in rule:
                continue
            # The connection selects a database before the check. So a user without that permission cannot connect.
            admin.execute_command(*rule, revocation, "+select")
            async with make_redis_client(f"redis://narrow:p@127.0.0.1:{own_store.port}/0", 1) as redis:
                missing = await permissions.find_missing_permissions(redis)
            if word == "~sk:*":
                assert set(missing) == {pattern for pattern in ("~sk:*", "~arq:*") if pattern in rule}
            elif word != "+select":
                assert missing == [word]
        admin.execute_command(*rule)
        admin.execute_command("ACL", "LOG", "RESET")
        async with make_redis_client(f"redis://narrow:p@127.0.0.1:{own_store.port}/1", 1) as redis:
            assert await permissions.find_missing_permissions(redis) == []
        assert admin.acl_log() == []


async def test_check_of_permissions_changes_no_key(own_store: RedisServer) -> None:
    with own_store.admin() as admin:
        admin.flushall()
        async with make_redis_client(f"redis://127.0.0.1:{own_store.port}", 1) as redis:
            assert await Permissions(Keys(), store=True, queue=True).find_missing_permissions(redis) == []
        assert admin.keys() == []


async def test_store_opens_with_a_warning_for_a_user_that_cannot_read_the_eviction_policy(
    own_store: RedisServer,
) -> None:
    rule = Permissions(Keys(), store=True, queue=True).render_acl_rule("blind").replace(">PASSWORD", ">p")
    with own_store.admin() as admin:
        admin.execute_command(*rule.split(" "), "-info")
    stream = io.StringIO()
    log.configure_logging("info", stream=stream)
    async with RedisPipe(f"redis://blind:p@127.0.0.1:{own_store.port}", 1) as pipe:
        await check_store_settings(pipe, Keys())
    (line,) = stream.getvalue().splitlines()
    assert orjson.loads(line)["event"] == "eviction policy of redis not readable"
