"""A full outbox: commands are refused with 503, overdue transitions are committed, and a drain makes room."""

from typing import Any

import httpx
import pytest

from synckairos.clock.commands import Start, Switch, UpdateMetadata
from synckairos.config import Settings
from tests.integration.audit_parts import AuditParts
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.session_committer import chess

T0 = 1_700_000_000_123


def with_limits(settings: Settings, **limits: int) -> Settings:
    return settings.model_copy(update=limits)


async def assert_refused(server: RestServer, path: str, **options: Any) -> httpx.Response:
    answer = await server.client.post(path, **options)
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "STORE_UNAVAILABLE"
    return answer


async def test_a_full_outbox_refuses_commands_but_not_overdue_transitions(settings: Settings) -> None:
    async with open_rest_server(with_limits(settings, outbox_max_entries=4)) as server:
        first, second = await server.create_started(), await server.create_started()
        path = f"/v1/sessions/{first['session_id']}"
        before = (await server.client.get(path)).content
        answer = await assert_refused(server, f"{path}/switch", headers={"Idempotency-Key": "again"})
        assert answer.headers["retry-after"] == "5"
        assert "the outbox has reached its limit of entries" in answer.json()["detail"]
        await assert_refused(server, "/v1/sessions", json={"sync_mode": "global", "total_time_ms": 5000})
        for verb, below in (("POST", "/pause"), ("POST", "/cancel"), ("DELETE", "")):
            assert (await server.client.request(verb, path + below)).status_code == 503
        assert (await server.client.patch(path, json={"metadata": {"a": 1}})).status_code == 503
        # Nothing changed. A command that the rules of the clock refuse still gets that refusal.
        assert (await server.client.get(path)).content == before
        assert (await server.client.post(f"{path}/start")).status_code == 400
        # Overdue transitions are committed, both by a read and by the timekeeper.
        await server.parts.rewind(second["session_id"], 3_600_000)
        await server.parts.sessions.commit_overdue(second["session_id"])
        assert (await server.client.get(f"/v1/sessions/{second['session_id']}")).json()["data"]["status"] == "expired"
        await server.parts.rewind(first["session_id"], 3_600_000)
        assert (await server.client.get(path)).json()["data"]["status"] == "expired"
        await server.drain()
        metrics = (await server.client.get("/metrics")).text
        assert "synckairos_backlog_refusals_total 0.0" not in metrics


async def test_a_refused_command_is_executed_after_a_drain_and_replayed_while_the_outbox_is_full(
    settings: Settings,
) -> None:
    async with open_rest_server(with_limits(settings, outbox_max_entries=2)) as server:
        session = await server.create_started()
        path = f"/v1/sessions/{session['session_id']}/switch"
        await assert_refused(server, path, headers={"Idempotency-Key": "again"})
        await server.drain()
        answer = await server.client.post(path, headers={"Idempotency-Key": "again"})
        assert answer.status_code == 200
        assert answer.json()["data"]["version"] == 3
        assert "idempotency-replayed" not in answer.headers
        await server.client.post(path)
        # An answer from before is replayed, even if the outbox is full.
        assert (await server.client.post(path, headers={"Idempotency-Key": "again"})).content == answer.content
        await assert_refused(server, path)


async def test_commands_are_refused_if_the_limit_of_bytes_or_age_is_reached(settings: Settings) -> None:
    async with open_rest_server(with_limits(settings, outbox_max_bytes=3_000)) as server:
        session = await server.create(metadata={"much": "x" * 3_000})
        answer = await assert_refused(server, f"/v1/sessions/{session['session_id']}/start")
        assert "limit of bytes" in answer.json()["detail"]
        (delivery,) = await server.outbox.read(0, 10, 1 << 20)
        assert (await server.outbox.measure_backlog()).bytes == delivery.size_bytes
        await server.drain()
        assert (await server.client.post(f"/v1/sessions/{session['session_id']}/start")).is_success
        await server.drain()
    async with open_rest_server(with_limits(settings, outbox_max_age_s=60)) as server:
        session = await server.create()
        await server.drain()
        outbox = server.parts.store.keys.outbox(0)
        await server.parts.pipe.call("DEL", outbox)
        await server.parts.pipe.call("XADD", outbox, "1-1", "some", "junk")
        answer = await assert_refused(server, f"/v1/sessions/{session['session_id']}/start")
        assert "limit of age" in answer.json()["detail"]
        await server.drain()
        assert (await server.client.post(f"/v1/sessions/{session['session_id']}/start")).is_success


@pytest.mark.parametrize("max_entries", [None, 10])
async def test_the_fullness_of_the_outbox_is_measured(settings: Settings, max_entries: int | None) -> None:
    limits = {} if max_entries is None else {"outbox_max_entries": max_entries}
    async with open_rest_server(with_limits(settings, **limits)) as server:
        for _ in range(5):
            await server.create()
        backlog = await server.outbox.measure_backlog()
        assert backlog.fullness == pytest.approx(0.5 if max_entries else 0, abs=1e-5)


async def test_the_bytes_in_the_outbox_are_counted_exactly(audit: AuditParts) -> None:
    async def counted() -> tuple[int, int]:
        waiting = await audit.outbox.read(0, 1000, 1 << 30)
        return (await audit.outbox.measure_backlog()).bytes, sum(delivery.size_bytes for delivery in waiting)

    life = await audit.committer.create(chess(metadata={"ä": "ö" * 100}), T0)
    await audit.committer.apply(life, Start(), T0 + 1000)
    for move in range(5):
        await audit.committer.apply(life, Switch(), T0 + 2000 + move)
    counter, sum_of_all = await counted()
    assert counter == sum_of_all > 5_000
    (one,) = await audit.outbox.read(0, 1, 1)
    await audit.failed_entries.record_failure(0, one.entry_id, retries=9, error="none", next_attempt_in_ms=None)
    assert (await counted())[0] == (await counted())[1] == sum_of_all - one.size_bytes
    batch = await audit.outbox.read(0, 3, 1 << 30)
    for _ in range(2):  # the second call is a retry after a lost reply, and subtracts nothing
        size = sum(delivery.size_bytes for delivery in batch)
        await audit.outbox.remove_written(0, [delivery.entry_id for delivery in batch], [], 1000, size_bytes=size)
        counter, rest = await counted()
        assert counter == rest > 0
    await audit.drain()
    assert await counted() == (0, 0)
    assert await audit.pipe.call("EXISTS", audit.keys.outbox_bytes(0)) == 0
    await audit.committer.apply(life, UpdateMetadata({"a": 1}), T0 + 10_000)
    counter, sum_of_all = await counted()
    assert counter == sum_of_all > 0
    assert len(await audit.failed_entries.load_set_aside_entries()) == 1
