"""Webhook receivers that do not answer as they should: the drain and the other endpoints do not wait for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from uuid import uuid4

import pytest

from synckairos.principal import DEFAULT_TENANT
from synckairos.webhooks.dispatcher import MAX_CONCURRENT_PER_ENDPOINT
from tests.integration.webhooks.conftest import Webhooks, wait_for_requests
from tests.integration.webhooks.receiver import Receiver
from tests.waiting import eventually

Behave = Callable[[asyncio.StreamWriter, str], Awaitable[None]]
"""Function that answers a request on a connection. The second argument is the URL of a receiver that works."""


class RawReceiver:
    """A receiver that reads the first request of each connection, and then calls `behave`."""

    def __init__(self, behave: Behave, working_url: str) -> None:
        self._behave = behave
        self._working_url = working_url
        self.requests = 0
        self.ended = 0
        """Number of connections that the sender has ended."""
        self.url = ""

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["RawReceiver"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        behaving = asyncio.ensure_future(self._behave(writer, self._working_url))
        try:
            with suppress(OSError):
                while await reader.read(1 << 16):
                    pass
        finally:
            self.ended += 1
            behaving.cancel()
            writer.close()


async def never_answer(writer: asyncio.StreamWriter, working_url: str) -> None:
    pass


async def drip_headers(writer: asyncio.StreamWriter, working_url: str) -> None:
    writer.write(b"HTTP/1.1 500 So\r\nx: ")
    await _write_forever(writer, b"x", 0.01)


async def drip_body(writer: asyncio.StreamWriter, working_url: str) -> None:
    writer.write(b"HTTP/1.1 500 So\r\ncontent-length: 60000\r\n\r\n")
    await _write_forever(writer, b"x", 0.01)


async def send_endless_body(writer: asyncio.StreamWriter, working_url: str) -> None:
    writer.write(b"HTTP/1.1 500 So\r\ncontent-length: 100000000000\r\n\r\n")
    await _write_forever(writer, b"x" * (1 << 16), 0)


async def send_endless_headers(writer: asyncio.StreamWriter, working_url: str) -> None:
    writer.write(b"HTTP/1.1 500 So\r\n")
    await _write_forever(writer, b"x-more: " + b"x" * 1000 + b"\r\n", 0)


async def redirect(writer: asyncio.StreamWriter, working_url: str) -> None:
    head = f"HTTP/1.1 307 So\r\nlocation: {working_url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    writer.write(head.encode())


async def _write_forever(writer: asyncio.StreamWriter, piece: bytes, pause_s: float) -> None:
    with suppress(OSError):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)


@pytest.mark.parametrize(
    "behave", [never_answer, drip_headers, drip_body, send_endless_body, send_endless_headers, redirect]
)
async def test_stuck_receiver_delays_no_drain_and_no_other_endpoint(
    webhooks: Webhooks, receiver: Receiver, behave: Behave
) -> None:
    async with RawReceiver(behave, receiver.url).listen() as stuck:
        await webhooks.create_endpoint(stuck.url)
        await webhooks.create_endpoint(receiver.url)
        # The time limit of an attempt is longer than the test, so the other endpoint does not wait for its end.
        async with webhooks.dispatching(timeout_s=60):
            lives = [await webhooks.play() for _ in range(2 * MAX_CONCURRENT_PER_ENDPOINT)]
            await wait_for_requests(receiver, 2 * len(lives))

            async def is_stuck() -> bool:
                return stuck.requests >= MAX_CONCURRENT_PER_ENDPOINT

            await eventually(is_stuck)
            assert await webhooks.audit.outbox.is_empty(0)
    assert len(receiver.ids) == len(set(receiver.ids)) == 2 * len(lives), "a redirect is not followed"


@pytest.mark.parametrize("behave", [never_answer, drip_headers, drip_body])
async def test_attempt_at_a_receiver_that_does_not_finish_its_answer_fails_at_the_time_limit(
    webhooks: Webhooks, behave: Behave
) -> None:
    async with RawReceiver(behave, "").listen() as stuck:
        endpoint, _ = await webhooks.create_endpoint(stuck.url, event_types=["session_created"])
        await webhooks.play()
        async with webhooks.dispatching(timeout_s=0.2):

            async def has_failed() -> bool:
                return any(each.attempts for each in await webhooks.deliveries(endpoint))

            await eventually(has_failed)
        (delivery,) = await webhooks.deliveries(endpoint)
        assert delivery.attempts[0].error == "no complete answer within 0.2 s"
        assert stuck.ended == stuck.requests == 1, "the connection was closed"


@pytest.mark.parametrize("behave", [send_endless_body, send_endless_headers])
async def test_endless_answer_is_not_read_to_its_end(webhooks: Webhooks, behave: Behave) -> None:
    async with RawReceiver(behave, "").listen() as stuck:
        endpoint, _ = await webhooks.create_endpoint(stuck.url, event_types=["session_created"])
        await webhooks.play()
        async with webhooks.dispatching(timeout_s=60):

            async def has_failed() -> bool:
                return any(each.attempts for each in await webhooks.deliveries(endpoint))

            await eventually(has_failed)
            assert stuck.ended == stuck.requests == 1


async def test_endpoints_that_do_not_answer_leave_places_to_others(webhooks: Webhooks, receiver: Receiver) -> None:
    stuck_endpoints = 4
    async with AsyncExitStack() as stack:
        stuck = [
            await stack.enter_async_context(RawReceiver(never_answer, "").listen()) for _ in range(stuck_endpoints)
        ]
        for each in stuck:
            await webhooks.create_endpoint(each.url)
        lives = [await webhooks.play() for _ in range(MAX_CONCURRENT_PER_ENDPOINT)]
        async with webhooks.dispatching(timeout_s=60, max_concurrent=2 * (stuck_endpoints + 1)):

            async def are_stuck() -> bool:
                return all(each.requests >= 2 for each in stuck)

            await eventually(are_stuck)
            # This endpoint is newer than all the deliveries that fill the places of the other endpoints.
            await webhooks.create_endpoint(receiver.url)
            lives.append(await webhooks.play())
            await wait_for_requests(receiver, 2)
    assert {each.message["data"]["session_id"] for each in receiver.received} == {lives[-1].session_id}


async def test_backlog_of_one_session_delays_no_other_session_and_no_test_message(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    backlog = 3_000
    hot = str(uuid4())
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    life = await webhooks.play()
    # The events of the hot session are older and are not in the audit, so their deliveries only hold leases.
    await webhooks.audit.rows(
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, epoch, version, event_type, due_at,"
        " leased_until) SELECT gen_random_uuid(), %s, %s, 'e', g, 'cycle_switched', now() - interval '1 hour',"
        " CASE WHEN g = 1 THEN now() + interval '1 hour' END FROM generate_series(1, %s) AS g RETURNING 1",
        *(endpoint.endpoint_id, hot, backlog),
    )
    await webhooks.registry.transact(DEFAULT_TENANT, lambda transaction: transaction.enqueue_test(endpoint.endpoint_id))
    async with webhooks.dispatching():
        await wait_for_requests(receiver, 3)
    assert sorted(receiver.types) == ["session_created", "session_started", "webhook_test"]
    assert {each.message["data"].get("session_id") for each in receiver.received} == {life.session_id, None}
