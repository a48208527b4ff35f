"""Endpoints whose attempts fail: one lease at a time, pauses, and claims that read few rows however many rows wait."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.principal import DEFAULT_TENANT
from synckairos.webhooks.delivery_queue import LONGEST_PAUSE_S, DeliveryQueue, DeliveryResult, open_delivery_queue
from synckairos.webhooks.dispatcher import GIVE_UP_S, MAX_CONCURRENT_PER_ENDPOINT
from synckairos.webhooks.records import DueDelivery, WebhookEndpoint
from tests.integration.webhooks.conftest import Webhooks

URL = "https://192.0.2.1/hook"
DELIVERED = DeliveryResult("delivered", "delivered", 204, None, 3)
FAILED = DeliveryResult("failed", "pending", 500, "answered 500", 3, next_s=1000.0)
LAPSED = DeliveryResult("lapsed", "failed", None, "the audit no longer has this event", 0)


def busy(pause_s: float) -> DeliveryResult:
    return DeliveryResult("failed", "pending", 429, "answered 429", 3, next_s=1000.0, pause_s=pause_s)


@pytest.fixture
async def queue(webhooks: Webhooks) -> AsyncIterator[DeliveryQueue]:
    async with open_delivery_queue(webhooks.audit.settings.database_url) as opened:
        yield opened


@pytest.fixture
async def endpoint(webhooks: Webhooks) -> WebhookEndpoint:
    created, _ = await webhooks.create_endpoint(URL)
    return created


async def claim(queue: DeliveryQueue) -> list[DueDelivery]:
    return await queue.claim(per_endpoint=MAX_CONCURRENT_PER_ENDPOINT, max_concurrent=256, limit=256, lease_s=60)


async def add_pending(webhooks: Webhooks, endpoint: WebhookEndpoint, sessions: int, each: int = 1) -> None:
    """Queue `each` messages of each of `sessions` sessions. The audit does not have their events."""
    await webhooks.audit.rows(
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, epoch, version, event_type)"
        " SELECT gen_random_uuid(), %s, s.id, 'e', v, 'cycle_switched'"
        " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s) OFFSET 0) AS s, generate_series(1, %s) AS v"
        " RETURNING 1",
        *(endpoint.endpoint_id, sessions, each),
    )


async def read_pause_s(webhooks: Webhooks) -> float | None:
    """Return the seconds between the begin of the newest saved attempt and the end of the endpoint's pause."""
    ((pause,),) = await webhooks.audit.rows(
        "SELECT resumes_at - (SELECT max(at + duration_ms * interval '1 ms') FROM webhook_attempts)"
        " FROM webhook_endpoints"
    )
    assert pause is None or isinstance(pause, timedelta)
    return None if pause is None else pause.total_seconds()


async def fail_for(webhooks: Webhooks, since: str) -> None:
    await webhooks.audit.rows(
        "UPDATE webhook_endpoints SET failing_since = now() - %s::interval, resumes_at = NULL RETURNING 1", since
    )


async def test_endpoint_gets_one_message_at_a_time_from_a_failure_to_the_next_success(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint
) -> None:
    await add_pending(webhooks, endpoint, 3 * MAX_CONCURRENT_PER_ENDPOINT)
    first, *others = await claim(queue)
    assert len(others) == MAX_CONCURRENT_PER_ENDPOINT - 1
    await queue.save_results([(first, FAILED)], GIVE_UP_S)
    assert await claim(queue) == []
    await queue.save_results([(each, FAILED) for each in others], GIVE_UP_S)
    (probe,) = await claim(queue)
    assert await claim(queue) == []
    await queue.save_results([(probe, DELIVERED)], GIVE_UP_S)
    assert len(await claim(queue)) == MAX_CONCURRENT_PER_ENDPOINT


@pytest.mark.parametrize(
    ("results", "is_failing"),
    [
        pytest.param([DELIVERED], False, id="success"),
        pytest.param([FAILED], True, id="failure"),
        pytest.param([FAILED, DELIVERED], False, id="success after a failure"),
        pytest.param([DELIVERED, FAILED], True, id="failure after a success"),
        pytest.param([DELIVERED, LAPSED], False, id="lapsed after a success"),
        pytest.param([LAPSED], True, id="lapsed alone"),
    ],
)
async def test_last_result_that_an_endpoint_caused_decides_whether_it_fails(
    webhooks: Webhooks,
    queue: DeliveryQueue,
    endpoint: WebhookEndpoint,
    results: Sequence[DeliveryResult],
    is_failing: bool,
) -> None:
    await add_pending(webhooks, endpoint, len(results))
    claimed = await claim(queue)
    await fail_for(webhooks, "6 days")
    disabled = await queue.save_results(list(zip(claimed, results, strict=True)), GIVE_UP_S)
    after = await webhooks.read_endpoint(endpoint)
    assert (after.failing_since_ms is not None) == is_failing
    # Only failures disable an endpoint, and only if no success is between them.
    assert (endpoint.endpoint_id in disabled) == (results == [FAILED]) == (not after.enabled)
    saved = await webhooks.deliveries(endpoint)
    assert sorted(each.status for each in saved) == sorted(each.status for each in results)
    counted = await webhooks.audit.rows("SELECT outcome, tries FROM webhook_tally")
    assert dict(counted) == {each.outcome: len([1 for x in results if x.outcome == each.outcome]) for each in results}


@pytest.mark.parametrize(
    ("since", "least_s", "most_s"),
    [
        pytest.param("0 s", 0, 3, id="first failure"),
        pytest.param("10 minutes", 30, 33, id="share of the time since the first failure"),
        pytest.param("4 days", LONGEST_PAUSE_S, LONGEST_PAUSE_S, id="longest pause"),
    ],
)
async def test_failed_attempt_pauses_the_endpoint_for_a_share_of_the_time_for_which_it_has_failed(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint, since: str, least_s: float, most_s: float
) -> None:
    await add_pending(webhooks, endpoint, 2)
    claimed, _ = await claim(queue)
    await fail_for(webhooks, since)
    await queue.save_results([(claimed, FAILED)], GIVE_UP_S)
    pause_s = await read_pause_s(webhooks)
    assert pause_s is not None
    assert least_s <= pause_s <= most_s


async def test_failure_or_success_of_another_message_does_not_shorten_a_pause_that_the_receiver_asked_for(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint
) -> None:
    await add_pending(webhooks, endpoint, 4)
    claimed = await claim(queue)
    for due, result in zip(claimed, [busy(3600), FAILED, DELIVERED], strict=False):
        await queue.save_results([(due, result)], GIVE_UP_S)
        pause_s = await read_pause_s(webhooks)
        assert pause_s is not None
        assert 3500 < pause_s <= 3600


async def test_paused_endpoint_gets_a_test_message_whose_success_ends_the_pause(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint
) -> None:
    await add_pending(webhooks, endpoint, 2 * MAX_CONCURRENT_PER_ENDPOINT)
    claimed = await claim(queue)
    await queue.save_results([(each, busy(3600)) for each in claimed], GIVE_UP_S)
    assert await claim(queue) == []
    test = await webhooks.registry.transact(
        DEFAULT_TENANT, lambda transaction: transaction.enqueue_test(endpoint.endpoint_id)
    )
    (sent,) = await claim(queue)
    assert sent.delivery_id == test.delivery_id
    await queue.save_results([(sent, DELIVERED)], GIVE_UP_S)
    assert len(await claim(queue)) == MAX_CONCURRENT_PER_ENDPOINT


async def test_test_message_goes_before_older_messages(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint
) -> None:
    await add_pending(webhooks, endpoint, 2 * MAX_CONCURRENT_PER_ENDPOINT)
    await fail_for(webhooks, "1 day")
    test = await webhooks.registry.transact(
        DEFAULT_TENANT, lambda transaction: transaction.enqueue_test(endpoint.endpoint_id)
    )
    assert [each.delivery_id for each in await claim(queue)] == [test.delivery_id]


async def test_result_that_is_saved_again_changes_nothing(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint
) -> None:
    await add_pending(webhooks, endpoint, 2)
    results = [(each, FAILED) for each in await claim(queue)]
    await queue.save_results(results, GIVE_UP_S)
    before = await webhooks.deliveries(endpoint)
    await queue.save_results(results, GIVE_UP_S)
    assert await webhooks.deliveries(endpoint) == before
    assert await webhooks.audit.rows("SELECT outcome, tries FROM webhook_tally") == [("failed", 2)]


@pytest.mark.parametrize("has_statistics", [False, True])
async def test_claim_reads_few_rows_of_a_session_with_a_large_backlog(
    webhooks: Webhooks, queue: DeliveryQueue, endpoint: WebhookEndpoint, has_statistics: bool
) -> None:
    await add_pending(webhooks, endpoint, 1, each=5_000)
    assert len(await claim(queue)) == 1
    if has_statistics:
        await webhooks.audit.database.execute(b"ANALYZE webhook_deliveries")
    queries: dict[str, dict[str, Any]] = {
        "find_open_endpoints": {"per_endpoint": MAX_CONCURRENT_PER_ENDPOINT, "max_concurrent": 256},
        "claim": {
            "endpoint_ids": [endpoint.endpoint_id],
            "rooms": [7],
            "paused": [False],
            "limit": 256,
            "lease_s": 60,
            "from_session_id": uuid4(),
        },
    }
    for name, values in queries.items():
        statement = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load_statements("webhooks.sql", "synckairos.webhooks")[name]
        (((plan,),),) = await queue.pool.fetch(statement, values, access=cross_tenant_access())
        node = max(nodes(plan["Plan"]), key=rows_read)
        assert rows_read(node) <= 210, (name, node)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a node of a query plan and all nodes below it."""
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


def rows_read(node: dict[str, Any]) -> float:
    removed = sum(value for key, value in node.items() if key.startswith("Rows Removed"))
    rows: float = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return rows
