"""Limit of connections from one IP address. An address at its limit does not affect other addresses."""

from uuid import uuid4

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from tests.integration.realtime.instances import receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client, v3_client
from tests.waiting import eventually

ONE_EACH = {"ws_max_connections_per_address": 1, "trusted_proxies": ["127.0.0.1"]}


async def test_connection_over_the_address_limit_is_refused_and_other_addresses_are_not(settings: Settings) -> None:
    few = settings.model_copy(update=ONE_EACH)
    async with serving(few, principal=None) as instance, v3_client(instance) as first:
        await first.request("PING", t0=0)
        async with v3_client(instance) as second:
            with pytest.raises(ConnectionClosed):
                await second.receive()
            assert second.socket.close_code == 4520
        with pytest.raises(InvalidStatus) as refused:
            async with watching(instance, str(uuid4())):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["retry-after"]) > 0

        forwarded = {"X-Forwarded-For": "192.0.2.7"}
        async with watching(instance, str(uuid4()), additional_headers=forwarded) as other:
            assert (await receive(other))["type"] == "CONNECTED"
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=forwarded) as third:
                with pytest.raises(ConnectionClosed):
                    await receive(third)
                assert third.close_code == 4520


async def test_addresses_of_one_ipv6_network_share_the_limit(settings: Settings) -> None:
    few = settings.model_copy(update=ONE_EACH)
    async with serving(few, principal=None) as instance:

        def connecting(address: str) -> connect:
            headers = {"X-Forwarded-For": address}
            return connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers)

        async with connecting("2001:db8::1") as first, connecting("[2001:db8::2]:443") as second:
            assert (await V3Client(first).request("PING", t0=0))["type"] == "PONG"
            with pytest.raises(ConnectionClosed):
                await receive(second)
            assert second.close_code == 4520
        async with connecting("2001:db8:0:1::1") as other:
            assert (await V3Client(other).request("PING", t0=0))["type"] == "PONG"


async def test_dual_stack_listener_sees_the_ipv4_address_of_a_trusted_proxy(settings: Settings) -> None:
    both = settings.model_copy(update={**ONE_EACH, "host": "::", "insecure": True})
    async with serving(both, principal=None) as instance:
        for address in ("192.0.2.7", "192.0.2.8"):
            async with connect(
                instance.ws_url, subprotocols=[V3], proxy=None, additional_headers={"X-Forwarded-For": address}
            ) as socket:
                assert (await V3Client(socket).request("PING", t0=0))["type"] == "PONG"
                (connection,) = instance.connections
                assert connection.principal.address == address
            await instance.wait_until_unused()


async def test_closed_connection_no_longer_counts_for_its_address(settings: Settings) -> None:
    few = settings.model_copy(update=ONE_EACH)
    async with serving(few, principal=None) as instance:
        for _ in range(3):
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
                assert (await V3Client(socket).request("PING", t0=0))["type"] == "PONG"

            async def is_gone() -> bool:
                return not instance.hub.connections

            await eventually(is_gone)
