"""From a committed event to a receiver: told at least once, in a form it can trust, and nobody waits for anybody."""

import asyncio
from itertools import pairwise

import orjson

from synckairos.audit.entry_rows import build_rows, parse_entry
from synckairos.clock.commands import Complete
from synckairos.history.audit_trail import AuditTrail
from synckairos.store.read_cache import ReadCache
from synckairos.wire.event_json import event_json
from synckairos.wire.webhooks import PatchWebhook
from tests.integration.audit.author import chess
from tests.integration.webhooks.conftest import AT_ONCE_S, T0, Webhooks, came
from tests.integration.webhooks.receiver import Received, Receiver, answer
from tests.waiting import eventually


async def refuse(received: Received) -> bytes:
    return answer(500)


async def test_an_event_is_told_as_the_trail_shows_it(webhooks: Webhooks, receiver: Receiver) -> None:
    _, secret = await webhooks.register(receiver.url)
    life = await webhooks.play(moves=2)
    async with webhooks.dispatching():
        await came(receiver, 4)
    told = [each.verify(secret) for each in receiver.received]
    assert receiver.types == ["session_created", "session_started", "cycle_switched", "cycle_switched"]
    aside = ReadCache(webhooks.audit.pipe, webhooks.audit.keys)
    trail = (await AuditTrail(webhooks.audit.archive, webhooks.audit.outbox, aside).page(life.session_id)).items
    for message, event in zip(told, trail, strict=True):
        shown = orjson.loads(orjson.dumps(event_json(event)))
        assert message == {
            "type": shown["event_type"],
            "timestamp": shown["occurred_at"],
            "data": {"session_id": life.session_id, **shown},
        }
    assert len(set(receiver.ids)) == 4


async def test_an_event_that_is_drained_again_is_the_same_message(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, _ = await webhooks.register(receiver.url)
    audit = webhooks.audit
    await audit.author.create(chess(), T0)
    batch = await audit.outbox.read(0, 100, 1 << 20)
    async with audit.ledger.hold(0) as writer:
        assert writer is not None
        await writer.record(build_rows([parse_entry(delivery.entry) for delivery in batch]))
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
        # As after a crash between COMMIT and taking it out of the stream: the very batch once more.
        await audit.drain().run(0)
        assert await audit.outbox.is_empty(0)
        (delivery,) = await webhooks.deliveries(endpoint)
    assert delivery.status == "delivered"
    assert receiver.ids == [delivery.delivery_id]


async def test_filters_by_event_and_by_metadata(webhooks: Webhooks, receiver: Receiver) -> None:
    async with Receiver() as picky, Receiver() as elsewhere:
        await webhooks.register(receiver.url)
        await webhooks.register(picky.url, event_types=["session_completed"], metadata={"club": {"id": 7}})
        await webhooks.register(elsewhere.url, metadata={"club": {"id": 8}})
        ours = await webhooks.play(metadata={"club": {"id": 7, "name": "Süd"}, "round": 1})
        theirs = await webhooks.play(metadata={"club": "none"})
        for life in (ours, theirs):
            await webhooks.audit.author.apply(life, Complete(), T0 + 9)
        await webhooks.audit.drain().run(0)
        async with webhooks.dispatching():
            await came(receiver, 6)
            await came(picky, 1)
    assert [each.message["data"]["session_id"] for each in picky.received] == [ours.session_id]
    assert picky.types == ["session_completed"]
    assert elsewhere.received == []


async def test_snapshots_carry_the_documents_own_bytes(webhooks: Webhooks, receiver: Receiver) -> None:
    await webhooks.register(receiver.url, snapshots=True)
    life = await webhooks.play()
    async with webhooks.dispatching():
        await came(receiver, 2)
    for received in receiver.received:
        document = life.documents[received.message["data"]["version"]]
        assert b'"state":' + document + b"}}" in received.body


async def test_failures_are_tried_again_until_one_succeeds(webhooks: Webhooks, receiver: Receiver) -> None:
    async def fail_twice(received: Received) -> bytes:
        return answer(500 if receiver.ids.count(received.message_id) < 3 else 204)

    receiver.answer_with = fail_twice
    endpoint, secret = await webhooks.register(receiver.url, event_types=["session_started"])
    await webhooks.play()
    async with webhooks.dispatching(schedule_s=AT_ONCE_S):
        await eventually(lambda: webhooks.all_delivered(endpoint))
    (delivery,) = await webhooks.deliveries(endpoint)
    assert [(each.attempt, each.status_code, each.error) for each in delivery.attempts] == [
        (1, 500, "answered 500"),
        (2, 500, "answered 500"),
        (3, 204, None),
    ]
    assert all(each.next_try_at_ms is not None for each in delivery.attempts[:2])
    assert delivery.attempts[2].next_try_at_ms is None
    first, *others = receiver.received
    assert all((each.message_id, each.body) == (first.message_id, first.body) for each in others)
    assert len([each.verify(secret) for each in receiver.received]) == 3
    assert (await webhooks.endpoint(endpoint)).failing_since_ms is None


async def test_what_fails_to_the_end_of_its_schedule_is_given_up(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answer_with = refuse
    endpoint, _ = await webhooks.register(receiver.url, event_types=["session_started"])
    await webhooks.play()

    async def given_up() -> bool:
        return [each.status for each in await webhooks.deliveries(endpoint)] == ["failed"]

    async with webhooks.dispatching(schedule_s=AT_ONCE_S):
        await eventually(given_up)
    (delivery,) = await webhooks.deliveries(endpoint)
    assert len(delivery.attempts) == len(receiver.received) == 10
    assert delivery.due_at_ms is None
    after = await webhooks.endpoint(endpoint)
    assert after.enabled
    assert after.failing_since_ms is not None


async def test_tries_follow_the_schedule_with_some_jitter(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answer_with = refuse
    endpoint, _ = await webhooks.register(receiver.url)
    await webhooks.play(moves=20)
    async with webhooks.dispatching(schedule_s=(1000.0,)):
        await came(receiver, 22)

        async def noted() -> bool:
            return all(each.attempts for each in await webhooks.deliveries(endpoint))

        await eventually(noted)
    waits = []
    for delivery in await webhooks.deliveries(endpoint):
        (attempt,) = delivery.attempts
        assert delivery.due_at_ms == attempt.next_try_at_ms
        assert attempt.next_try_at_ms is not None
        waits.append(attempt.next_try_at_ms - attempt.at_ms - attempt.duration_ms)
    assert all(1_000_000 <= wait <= 1_201_000 for wait in waits)
    assert len(set(waits)) > 10


async def test_retry_after_is_honoured_for_the_whole_endpoint(webhooks: Webhooks, receiver: Receiver) -> None:
    async def later(received: Received) -> bytes:
        return answer(429, "retry-after: 3600")

    receiver.answer_with = later
    endpoint, _ = await webhooks.register(receiver.url, event_types=["session_created"])
    await webhooks.play()
    async with webhooks.dispatching(schedule_s=AT_ONCE_S):
        await came(receiver, 1)

        async def noted() -> bool:
            return bool((await webhooks.deliveries(endpoint))[-1].attempts)

        await eventually(noted)
        await webhooks.play()
        async with Receiver() as other:
            await webhooks.register(other.url)
            await webhooks.play()
            await came(other, 2)
    assert len(receiver.received) == 1
    (attempt,) = (await webhooks.deliveries(endpoint))[-1].attempts
    assert attempt.next_try_at_ms is not None
    assert attempt.next_try_at_ms - attempt.at_ms - attempt.duration_ms == 3_600_000


async def test_gone_is_the_end_until_somebody_enables_it(webhooks: Webhooks, receiver: Receiver) -> None:
    async def gone(received: Received) -> bytes:
        return answer(410)

    receiver.answer_with = gone
    endpoint, _ = await webhooks.register(receiver.url, event_types=["session_created"])
    await webhooks.play()

    async def is_disabled() -> bool:
        return not (await webhooks.endpoint(endpoint)).enabled

    async with webhooks.dispatching(schedule_s=AT_ONCE_S):
        await eventually(is_disabled)
        await webhooks.play()
    assert (await webhooks.endpoint(endpoint)).disabled_reason == "it answered 410 Gone"
    (delivery,) = await webhooks.deliveries(endpoint)
    assert delivery.status == "failed"
    assert len(receiver.received) == 1

    await webhooks.registry.do(lambda work: work.update(endpoint.endpoint_id, PatchWebhook(enabled=True)))
    again = await webhooks.endpoint(endpoint)
    assert (again.enabled, again.disabled_reason, again.failing_since_ms) == (True, None, None)


async def test_failing_for_long_disables_an_endpoint(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answer_with = refuse
    endpoint, _ = await webhooks.register(receiver.url)
    await webhooks.play()

    async def is_disabled() -> bool:
        return not (await webhooks.endpoint(endpoint)).enabled

    async with webhooks.dispatching(schedule_s=AT_ONCE_S, give_up_s=0):
        await eventually(is_disabled)
    reason = (await webhooks.endpoint(endpoint)).disabled_reason
    assert reason is not None
    assert reason.startswith("every try has failed since 2")


async def test_a_slow_endpoint_holds_up_no_other(webhooks: Webhooks, receiver: Receiver) -> None:
    released = asyncio.Event()

    async def hang(received: Received) -> bytes:
        await released.wait()
        return answer(204)

    async with Receiver(hang) as slow:
        slow_one, _ = await webhooks.register(slow.url)
        await webhooks.register(receiver.url)
        async with webhooks.dispatching():
            for _ in range(12):
                await webhooks.play()
            await came(receiver, 24)
            await came(slow, 8)
            # It has as much under way as it may, one message a session; the rest waits for it alone.
            assert len(slow.received) == 8
            assert len({each.message["data"]["session_id"] for each in slow.received}) == 8
            released.set()
            await eventually(lambda: webhooks.all_delivered(slow_one))
    assert len(slow.received) == len(set(slow.ids)) == 24


async def test_a_sessions_events_come_in_order(webhooks: Webhooks, receiver: Receiver) -> None:
    await webhooks.register(receiver.url)
    async with webhooks.dispatching(), webhooks.dispatching():
        for _ in range(3):
            await webhooks.play(moves=10)
        await came(receiver, 36)
    seen: dict[str, list[int]] = {}
    for received in receiver.received:
        seen.setdefault(received.message["data"]["session_id"], []).append(received.message["data"]["version"])
    assert len(seen) == 3
    for versions in seen.values():
        assert all(one < other for one, other in pairwise(versions))


async def test_two_secrets_sign_while_one_replaces_the_other(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, old = await webhooks.register(receiver.url)
    new = await webhooks.registry.do(lambda work: work.rotate(endpoint.endpoint_id, 3600))
    await webhooks.play()
    async with webhooks.dispatching():
        await came(receiver, 2)
        assert receiver.received[0].verify(old) == receiver.received[0].verify(new)
        newest = await webhooks.registry.do(lambda work: work.rotate(endpoint.endpoint_id, 0))
        await webhooks.play()
        await came(receiver, 4)
    last = receiver.received[-1]
    assert last.headers["webhook-signature"].count("v1,") == 1
    last.verify(newest)


async def test_what_stops_gives_back_what_is_under_way(webhooks: Webhooks, receiver: Receiver) -> None:
    async def hang(received: Received) -> bytes:
        await asyncio.Event().wait()
        return b""

    receiver.answer_with = hang
    endpoint, _ = await webhooks.register(receiver.url, event_types=["session_created"])
    await webhooks.play()
    async with webhooks.dispatching():
        await came(receiver, 1)

    async def accept(received: Received) -> bytes:
        return answer(204)

    receiver.answer_with = accept
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
    assert len(set(receiver.ids)) == 1
    assert len(receiver.received) == 2


async def test_resending_and_testing(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, secret = await webhooks.register(receiver.url, event_types=["session_created"])
    await webhooks.play()
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
        (delivery,) = await webhooks.deliveries(endpoint)
        await webhooks.registry.do(lambda work: work.resend(endpoint.endpoint_id, delivery.delivery_id))
        await came(receiver, 2)
        await webhooks.registry.do(lambda work: work.test(endpoint.endpoint_id))
        await came(receiver, 3)
        await eventually(lambda: webhooks.all_delivered(endpoint))
    assert receiver.ids[0] == receiver.ids[1] == delivery.delivery_id
    message = receiver.received[2].verify(secret)
    assert message["type"] == "webhook_test"
    assert message["data"] == {"webhook_id": endpoint.endpoint_id}
    test, sent_twice = await webhooks.deliveries(endpoint)
    assert [each.attempt for each in sent_twice.attempts] == [1, 2]
    assert test.session_id is None


async def test_the_log_is_kept_for_its_days(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint, _ = await webhooks.register(receiver.url)
    await webhooks.play()
    async with webhooks.dispatching():
        await eventually(lambda: webhooks.all_delivered(endpoint))
    old, young = await webhooks.deliveries(endpoint)
    age = "UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE delivery_id = %s RETURNING 1"
    await webhooks.audit.rows(age, old.delivery_id)

    async def gone() -> bool:
        return [each.delivery_id for each in await webhooks.deliveries(endpoint)] == [young.delivery_id]

    async with webhooks.dispatching(log_days=31):
        await eventually(gone)
    assert len(await webhooks.audit.rows("SELECT 1 FROM webhook_attempts")) == 1


async def test_without_endpoints_nothing_is_written(webhooks: Webhooks) -> None:
    await webhooks.play(moves=3)
    assert await webhooks.audit.rows("SELECT 1 FROM webhook_deliveries") == []
