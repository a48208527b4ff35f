"""Delivery of committed events: at least once, signed, retried, and without delays by other endpoints."""

import asyncio
from itertools import pairwise

import orjson
import pytest

from synckairos.audit.entry_rows import build_batch_rows, parse_entry
from synckairos.clock.commands import Complete
from synckairos.history.audit_trail import AuditTrail
from synckairos.principal import DEFAULT_TENANT
from synckairos.store.read_cache import ReadCache
from synckairos.wire.event_json import event_json
from synckairos.wire.webhooks import PatchWebhook
from tests.integration.large_session import LargeSession
from tests.integration.parts import Parts
from tests.integration.session_committer import chess
from tests.integration.webhooks.conftest import NO_DELAYS_S, T0, Webhooks, wait_for_requests
from tests.integration.webhooks.receiver import Received, Receiver, answer
from tests.waiting import eventually


async def refuse(received: Received) -> bytes:
    return answer(500)


@pytest.mark.pooler
async def test_delivered_event_equals_the_event_in_the_audit_trail(webhooks: Webhooks, receiver: Receiver) -> None:
    _, secret = await webhooks.create_endpoint(receiver.url)
    life = await webhooks.play(moves=2)
    async with webhooks.dispatching():
        await wait_for_requests(receiver, 4)
    messages = [each.verify(secret) for each in receiver.received]
    assert receiver.types == ["session_created", "session_started", "cycle_switched", "cycle_switched"]
    read_cache = ReadCache(webhooks.audit.pipe, webhooks.audit.keys)
    trail = (
        await AuditTrail(webhooks.audit.history, webhooks.audit.outbox, read_cache).read_page(life.session_id)
    ).items
    for message, event in zip(messages, trail, strict=True):
        expected = orjson.loads(orjson.dumps(event_json(event, shows_actor=True)))
        assert message == {
            "type": expected["event_type"],
            "timestamp": expected["occurred_at"],
            "data": {"session_id": life.session_id, **expected},
        }
    assert len(set(receiver.ids)) == 4


@pytest.mark.pooler
async def test_event_drained_twice_is_delivered_once(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    audit = webhooks.audit
    await audit.committer.create(chess(), T0)
    batch = await audit.outbox.read(0, 100, 1 << 20)
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        await writer.write(build_batch_rows([parse_entry(delivery.parse()) for delivery in batch]))
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
        # Simulates a crash between COMMIT and the removal from the stream: the same batch is drained again.
        await audit.drain()
        assert await audit.outbox.is_empty(0)
        (delivery,) = await webhooks.deliveries(endpoint)
    assert delivery.status == "delivered"
    assert receiver.ids == [delivery.delivery_id]


async def test_endpoint_gets_only_events_that_match_its_filters(webhooks: Webhooks, receiver: Receiver) -> None:
    async with Receiver() as filtered, Receiver() as unmatched:
        await webhooks.create_endpoint(receiver.url)
        await webhooks.create_endpoint(filtered.url, event_types=["session_completed"], metadata={"club": {"id": 7}})
        await webhooks.create_endpoint(unmatched.url, metadata={"club": {"id": 8}})
        matching = await webhooks.play(metadata={"club": {"id": 7, "name": "Süd"}, "round": 1})
        other = await webhooks.play(metadata={"club": "none"})
        for life in (matching, other):
            await webhooks.audit.committer.apply(life, Complete(), T0 + 9)
        await webhooks.audit.drain()
        async with webhooks.dispatching():
            await wait_for_requests(receiver, 6)
            await wait_for_requests(filtered, 1)
    assert [each.message["data"]["session_id"] for each in filtered.received] == [matching.session_id]
    assert filtered.types == ["session_completed"]
    assert unmatched.received == []


async def test_snapshot_in_a_message_has_the_bytes_of_the_stored_document(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    await webhooks.create_endpoint(receiver.url, snapshots=True)
    life = await webhooks.play()
    async with webhooks.dispatching():
        await wait_for_requests(receiver, 2)
    for received in receiver.received:
        document = life.documents[received.message["data"]["version"]]
        assert b'"state":' + document + b"}}" in received.body


async def test_snapshot_of_a_version_that_is_stored_as_a_change_has_the_bytes_of_its_document(
    webhooks: Webhooks, receiver: Receiver, parts: Parts
) -> None:
    await webhooks.create_endpoint(receiver.url, snapshots=True)
    session = await LargeSession.start(parts)
    await session.switch(2)
    await webhooks.audit.drain()
    assert len(await webhooks.audit.rows("SELECT 1 FROM sync_events WHERE whole_version IS NOT NULL")) >= 2
    async with webhooks.dispatching():
        await wait_for_requests(receiver, 4)
    for received in receiver.received:
        document = session.documents[received.message["data"]["version"]]
        assert b'"state":' + document + b"}}" in received.body


async def test_failed_delivery_is_retried_until_it_succeeds(webhooks: Webhooks, receiver: Receiver) -> None:
    async def fail_twice(received: Received) -> bytes:
        return answer(500 if receiver.ids.count(received.message_id) < 3 else 204)

    receiver.answer_with = fail_twice
    endpoint, secret = await webhooks.create_endpoint(receiver.url, event_types=["session_started"])
    await webhooks.play()
    async with webhooks.dispatching(schedule_s=NO_DELAYS_S):
        await eventually(lambda: webhooks.all_delivered(endpoint))
    (delivery,) = await webhooks.deliveries(endpoint)
    assert [(each.attempt, each.status_code, each.error) for each in delivery.attempts] == [
        (1, 500, "answered 500"),
        (2, 500, "answered 500"),
        (3, 204, None),
    ]
    assert all(each.next_attempt_at_ms is not None for each in delivery.attempts[:2])
    assert delivery.attempts[2].next_attempt_at_ms is None
    first, *others = receiver.received
    assert all((each.message_id, each.body) == (first.message_id, first.body) for each in others)
    assert len([each.verify(secret) for each in receiver.received]) == 3
    assert (await webhooks.read_endpoint(endpoint)).failing_since_ms is None


async def test_delivery_fails_after_the_last_attempt_of_the_schedule(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answer_with = refuse
    endpoint, _ = await webhooks.create_endpoint(receiver.url, event_types=["session_started"])
    await webhooks.play()

    async def given_up() -> bool:
        return [each.status for each in await webhooks.deliveries(endpoint)] == ["failed"]

    async with webhooks.dispatching(schedule_s=NO_DELAYS_S):
        await eventually(given_up)
    (delivery,) = await webhooks.deliveries(endpoint)
    assert len(delivery.attempts) == len(receiver.received) == 10
    assert delivery.due_at_ms is None
    after = await webhooks.read_endpoint(endpoint)
    assert after.enabled
    assert after.failing_since_ms is not None


async def test_retry_delay_is_the_schedule_plus_jitter(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answer_with = refuse
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    await webhooks.play(moves=20)
    async with webhooks.dispatching(schedule_s=(1000.0,)):
        await wait_for_requests(receiver, 22)

        async def have_attempts() -> bool:
            return all(each.attempts for each in await webhooks.deliveries(endpoint))

        await eventually(have_attempts)
    waits = []
    for delivery in await webhooks.deliveries(endpoint):
        (attempt,) = delivery.attempts
        assert delivery.due_at_ms == attempt.next_attempt_at_ms
        assert attempt.next_attempt_at_ms is not None
        waits.append(attempt.next_attempt_at_ms - attempt.at_ms - attempt.duration_ms)
    assert all(1_000_000 <= wait <= 1_201_000 for wait in waits)
    assert len(set(waits)) > 10


async def test_retry_after_pauses_the_whole_endpoint(webhooks: Webhooks, receiver: Receiver) -> None:
    async def later(received: Received) -> bytes:
        return answer(429, "retry-after: 3600")

    receiver.answer_with = later
    endpoint, _ = await webhooks.create_endpoint(receiver.url, event_types=["session_created"])
    await webhooks.play()
    async with webhooks.dispatching(schedule_s=NO_DELAYS_S):
        await wait_for_requests(receiver, 1)

        async def have_attempts() -> bool:
            return bool((await webhooks.deliveries(endpoint))[-1].attempts)

        await eventually(have_attempts)
        await webhooks.play()
        async with Receiver() as other:
            await webhooks.create_endpoint(other.url)
            await webhooks.play()
            await wait_for_requests(other, 2)
    assert len(receiver.received) == 1
    (attempt,) = (await webhooks.deliveries(endpoint))[-1].attempts
    assert attempt.next_attempt_at_ms is not None
    assert attempt.next_attempt_at_ms - attempt.at_ms - attempt.duration_ms == 3_600_000


async def test_answer_410_disables_the_endpoint_until_it_is_enabled(webhooks: Webhooks, receiver: Receiver) -> None:
    async def gone(received: Received) -> bytes:
        return answer(410)

    receiver.answer_with = gone
    endpoint, _ = await webhooks.create_endpoint(receiver.url, event_types=["session_created"])
    await webhooks.play()

    async def is_disabled() -> bool:
        return not (await webhooks.read_endpoint(endpoint)).enabled

    async with webhooks.dispatching(schedule_s=NO_DELAYS_S):
        await eventually(is_disabled)
        await webhooks.play()
    assert (await webhooks.read_endpoint(endpoint)).disabled_reason == "it answered 410 Gone"
    (delivery,) = await webhooks.deliveries(endpoint)
    assert delivery.status == "failed"
    assert len(receiver.received) == 1

    await webhooks.registry.transact(
        DEFAULT_TENANT,
        lambda transaction: transaction.update_endpoint(endpoint.endpoint_id, PatchWebhook(enabled=True)),
    )
    again = await webhooks.read_endpoint(endpoint)
    assert (again.enabled, again.disabled_reason, again.failing_since_ms) == (True, None, None)


async def test_endpoint_that_only_fails_for_give_up_s_is_disabled(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answer_with = refuse
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    await webhooks.play()

    async def is_disabled() -> bool:
        return not (await webhooks.read_endpoint(endpoint)).enabled

    async with webhooks.dispatching(schedule_s=NO_DELAYS_S, give_up_s=0):
        await eventually(is_disabled)
    reason = (await webhooks.read_endpoint(endpoint)).disabled_reason
    assert reason is not None
    assert reason.startswith("every try has failed since 2")


async def test_slow_endpoint_does_not_delay_other_endpoints(webhooks: Webhooks, receiver: Receiver) -> None:
    released = asyncio.Event()

    async def hang(received: Received) -> bytes:
        await released.wait()
        return answer(204)

    async with Receiver(hang) as slow:
        slow_endpoint, _ = await webhooks.create_endpoint(slow.url)
        await webhooks.create_endpoint(receiver.url)
        async with webhooks.dispatching():
            for _ in range(12):
                await webhooks.play()
            await wait_for_requests(receiver, 24)
            await wait_for_requests(slow, 8)
            # The endpoint gets its maximum number of messages, one for each session. All other deliveries stay queued.
            assert len(slow.received) == 8
            assert len({each.message["data"]["session_id"] for each in slow.received}) == 8
            released.set()
            await eventually(lambda: webhooks.all_delivered(slow_endpoint))
    assert len(slow.received) == len(set(slow.ids)) == 24


async def test_events_of_a_session_are_delivered_in_order(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    async with webhooks.dispatching(), webhooks.dispatching():
        for _ in range(3):
            await webhooks.play(moves=10)
        await wait_for_requests(receiver, 36)
        # A dispatcher that stops before it saves the last result releases the delivery. The other one sends it again.
        await eventually(lambda: webhooks.all_delivered(endpoint))
    seen: dict[str, list[int]] = {}
    for received in receiver.received:
        seen.setdefault(received.message["data"]["session_id"], []).append(received.message["data"]["version"])
    assert len(seen) == 3
    for versions in seen.values():
        assert all(earlier < later for earlier, later in pairwise(versions))


@pytest.mark.pooler
async def test_old_and_new_secret_sign_during_the_overlap(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, old = await webhooks.create_endpoint(receiver.url)
    new = await webhooks.rotate_secret(endpoint, 3600)
    await webhooks.play()
    async with webhooks.dispatching():
        await wait_for_requests(receiver, 2)
        assert receiver.received[0].verify(old) == receiver.received[0].verify(new)
        newest = await webhooks.registry.transact(
            DEFAULT_TENANT, lambda transaction: transaction.rotate_secret(endpoint.endpoint_id, 0)
        )
        await webhooks.play()
        await wait_for_requests(receiver, 4)
    last = receiver.received[-1]
    assert last.headers["webhook-signature"].count("v1,") == 1
    last.verify(newest)


@pytest.mark.pooler
async def test_stopped_dispatcher_releases_unfinished_deliveries(webhooks: Webhooks, receiver: Receiver) -> None:
    never = asyncio.Event()  # referenced by the test, so that the garbage collector does not take the waiting task

    async def hang(received: Received) -> bytes:
        await never.wait()
        return b""

    receiver.answer_with = hang
    endpoint, _ = await webhooks.create_endpoint(receiver.url, event_types=["session_created"])
    await webhooks.play()
    async with webhooks.dispatching():
        await wait_for_requests(receiver, 1)

    async def accept(received: Received) -> bytes:
        return answer(204)

    receiver.answer_with = accept
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
    assert len(set(receiver.ids)) == 1
    assert len(receiver.received) == 2


async def test_delivery_can_be_requeued_and_a_test_message_sent(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, secret = await webhooks.create_endpoint(receiver.url, event_types=["session_created"])
    await webhooks.play()
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
        (delivery,) = await webhooks.deliveries(endpoint)
        await webhooks.registry.transact(
            DEFAULT_TENANT, lambda transaction: transaction.requeue(endpoint.endpoint_id, delivery.delivery_id)
        )
        await wait_for_requests(receiver, 2)
        await webhooks.registry.transact(
            DEFAULT_TENANT, lambda transaction: transaction.enqueue_test(endpoint.endpoint_id)
        )
        await wait_for_requests(receiver, 3)
        await eventually(lambda: webhooks.all_delivered(endpoint))
    assert receiver.ids[0] == receiver.ids[1] == delivery.delivery_id
    message = receiver.received[2].verify(secret)
    assert message["type"] == "webhook_test"
    assert message["data"] == {"webhook_id": endpoint.endpoint_id}
    test_delivery, requeued = await webhooks.deliveries(endpoint)
    assert [each.attempt for each in requeued.attempts] == [1, 2]
    assert test_delivery.session_id is None


async def test_deliveries_older_than_log_days_are_pruned(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, _ = await webhooks.create_endpoint(receiver.url)
    await webhooks.play()
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
    old, recent = await webhooks.deliveries(endpoint)
    age = "UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE delivery_id = %s RETURNING 1"
    await webhooks.audit.rows(age, old.delivery_id)

    async def gone() -> bool:
        return [each.delivery_id for each in await webhooks.deliveries(endpoint)] == [recent.delivery_id]

    async with webhooks.dispatching(log_days=31):
        await eventually(gone)
    assert len(await webhooks.audit.rows("SELECT 1 FROM webhook_attempts")) == 1


async def test_without_endpoints_no_delivery_is_written(webhooks: Webhooks) -> None:
    await webhooks.play(moves=3)
    assert await webhooks.audit.rows("SELECT 1 FROM webhook_deliveries") == []
