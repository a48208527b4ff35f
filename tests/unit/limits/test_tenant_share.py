"""The share of each tenant in the processor time, and its budget of bodies: they bind only beside active tenants."""

import asyncio
from functools import partial
from itertools import pairwise

import pytest

from synckairos.errors import RateLimitExceeded
from synckairos.limits import processor_time, tenant_share, used_time
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.processor_time import ProcessorTime
from synckairos.limits.running_request import query_place
from synckairos.limits.work_limits import (
    BYTES,
    SETTING,
    TENANT_BYTES,
    TENANT_PROCESSOR_MS,
    TENANT_VALUES,
    VALUES,
    WorkLimit,
)
from synckairos.principal import tenant_of_client
from tests.background_task import start
from tests.principals import make_principal

OTHER = make_principal("admin", "x", tenant="other").limited_client_id
CLIENTS = [make_principal("admin", f"pupil-{at}", tenant="acme").limited_client_id for at in range(30)]
ADDRESS = "10.0.0.1"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def answer() -> str:
    return "answer"


def use(shares: ProcessorTime, client: str, seconds: float) -> None:
    shares.charge_response(client, round(seconds / processor_time.RESPONSE_BYTE_S))


def use_share_of_tenant(shares: ProcessorTime) -> None:
    """Charge more than the share of a tenant to its clients. Each client has used less than its own share."""
    for client in CLIENTS[1:]:
        use(shares, client, TENANT_PROCESSOR_MS.burst / 1000 / 20)


async def test_clients_of_a_tenant_wait_for_its_share_only_while_another_tenant_is_active(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor_time, "MAX_WAIT_S", 0)
    shares = ProcessorTime(clock=Clock())
    for client in (ADDRESS, *CLIENTS):
        shares.note_activity(client)
    use_share_of_tenant(shares)
    assert await shares.run(CLIENTS[0], answer) == "answer", "the other clients have no tenant, or the same one"
    shares.note_activity(OTHER)
    with pytest.raises(
        RateLimitExceeded, match=r"limit of 250 milliseconds of processor time .* and tenant"
    ) as refusal:
        await shares.run(CLIENTS[0], answer)
    assert refusal.value.details["setting"] == SETTING
    for client in (OTHER, ADDRESS):
        assert await shares.run(client, answer) == "answer"


async def test_waiting_clients_of_a_tenant_take_turns() -> None:
    clock, order = Clock(), list[str]()
    shares = ProcessorTime(clock=clock)
    shares.note_activity(CLIENTS[0])
    shares.note_activity(OTHER)
    use_share_of_tenant(shares)

    async def work(name: str) -> None:
        order.append(name)

    requests = [await start(shares.run(CLIENTS[client], partial(work, str(client)))) for client in (1, 1, 1, 2, 3)]
    assert (order, shares.waiting_count) == ([], 5)
    clock.now_s += used_time.MAX_PAUSE_S
    shares.note_activity(OTHER)
    for each in requests:
        await each
    assert order == ["1", "2", "3", "1", "1"]


async def test_requests_of_a_tenant_that_run_at_the_same_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_share, "MAX_RUNNING_OF_TENANT", 2)
    running = list[str]()
    shares = ProcessorTime(clock=Clock())
    release = [*map(_Gate, CLIENTS[:3])]
    shares.note_activity(CLIENTS[0])
    shares.note_activity(OTHER)
    requests = [await start(shares.run(gate.client, partial(gate.pass_through, running))) for gate in release]
    assert running == CLIENTS[:2]
    release[0].open()
    await requests[0]
    release[1].open()
    release[2].open()
    for each in requests[1:]:
        await each
    assert running == CLIENTS[:3]


class _Gate:
    """Work of a client that waits until the test opens the gate."""

    def __init__(self, client: str) -> None:
        self.client = client
        self._opened = asyncio.Event()
        self.open = self._opened.set
        self.close = self._opened.clear

    async def pass_through(self, running: list[str]) -> None:
        running.append(self.client)
        await self._opened.wait()


async def test_queries_of_a_tenant_that_run_at_the_same_time_are_bounded_only_beside_another_tenant() -> None:
    shares, running = ProcessorTime(clock=Clock()), list[str]()
    gates = [*map(_Gate, CLIENTS[: tenant_share.MAX_QUERIES_OF_TENANT + 1])]

    async def query(gate: "_Gate") -> None:
        async with query_place():
            await gate.pass_through(running)

    async def begin_all() -> list[asyncio.Task[None]]:
        return [await start(shares.run(gate.client, partial(query, gate))) for gate in gates]

    async def count_running() -> int:
        running.clear()
        requests = await begin_all()
        count = len(running)
        for each, request in zip(gates, requests, strict=True):
            each.open()
            await request
            each.close()
        return count

    shares.note_activity(CLIENTS[0])
    assert await count_running() == len(gates)
    shares.note_activity(OTHER)
    assert await count_running() == tenant_share.MAX_QUERIES_OF_TENANT


def test_steps_of_a_tenant_with_much_use_wait_for_presses_only_beside_another_tenant() -> None:
    shares = ProcessorTime(clock=Clock())
    shares.note_activity(CLIENTS[0])
    use_share_of_tenant(shares)
    account = shares._account(CLIENTS[0])
    found = [account.has_much_use]
    shares.note_activity(OTHER)
    found.append(account.has_much_use)
    assert found == [False, True]
    assert not shares._account(OTHER).has_much_use


def test_refusals_of_all_clients_of_a_tenant_are_answered_one_after_the_other() -> None:
    clock = Clock()
    shares = ProcessorTime(clock=clock)
    for client in CLIENTS:
        shares.note_activity(client)
    waits = [shares.reserve_refusal(each) for each in CLIENTS]
    assert waits == pytest.approx([used_time.REFUSAL_DELAY_S] * len(waits))
    clock.now_s += used_time.MAX_REFUSAL_DELAY_S
    shares.note_activity(CLIENTS[0])
    shares.note_activity(OTHER)
    waits = [shares.reserve_refusal(each) for each in CLIENTS]
    steps = [later - earlier for earlier, later in pairwise(waits)]
    assert steps == pytest.approx([tenant_share.REFUSAL_INTERVAL_OF_TENANT_S] * len(steps))
    assert shares.reserve_refusal(OTHER) == pytest.approx(used_time.REFUSAL_DELAY_S)


@pytest.mark.parametrize(
    ("limit", "of_tenant"), [(BYTES, TENANT_BYTES), (VALUES, TENANT_VALUES)], ids=["bytes", "values"]
)
def test_clients_of_a_tenant_share_a_budget_of_bodies_only_while_another_tenant_is_active(
    limit: WorkLimit, of_tenant: WorkLimit
) -> None:
    clock = Clock()
    work = ClientWorkLimits(clock=clock)
    full = of_tenant.burst // limit.burst
    work.processor_time.note_activity(CLIENTS[0])
    work.charge(CLIENTS[0], limit, limit.burst)
    work.processor_time.note_activity(OTHER)
    for client in CLIENTS[1 : full + 1]:
        work.charge(client, limit, limit.burst)
    late = CLIENTS[full + 1]
    with pytest.raises(RateLimitExceeded, match=f"{of_tenant.name} a second and tenant"):
        work.charge(late, limit, 1)
    work.charge(OTHER, limit, limit.burst)
    clock.now_s += processor_time.ACTIVE_S
    work.charge(late, limit, limit.burst)  # also shows that the refused charge was undone


def test_limits_of_tenants_are_multiplied_like_those_of_clients() -> None:
    work = ClientWorkLimits(0.5)
    for limit in (TENANT_PROCESSOR_MS, TENANT_BYTES, TENANT_VALUES):
        scaled = work.scaled_limit(limit)
        assert (scaled.per_s, scaled.burst) == (limit.per_s / 2, limit.burst / 2)


async def press(shares: ProcessorTime, client: str) -> str:
    return await shares.run_press(client, tenant_of_client(client) or "default", "session", answer)


async def press_until_the_next_must_wait(shares: ProcessorTime, client: str) -> int:
    """Run presses of a client until its tenant has used its whole share. Return the number of presses.

    The maximum wait must be 0. The last press is refused.
    """
    for count in range(1, 1_000_000):
        try:
            assert await press(shares, client) == "answer"
        except RateLimitExceeded:
            return count
    raise AssertionError("no press must wait")


async def test_presses_of_a_tenant_wait_only_if_they_use_its_whole_share_beside_another_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processor_time, "MAX_WAIT_S", 0)
    clock = Clock()
    shares = ProcessorTime(clock=clock)
    shares.note_activity(CLIENTS[0])
    for _ in range(10_000):
        await press(shares, CLIENTS[0])  # no other tenant is active
    shares.note_activity(OTHER)
    use_share_of_tenant(shares)
    whole_share = TENANT_PROCESSOR_MS.burst / 1000 / tenant_share.PRESS_S
    assert await press_until_the_next_must_wait(shares, CLIENTS[0]) == pytest.approx(whole_share, abs=2)
    with pytest.raises(RateLimitExceeded, match="and tenant"):
        await press(shares, CLIENTS[0])
    assert [await press(shares, each) for each in (OTHER, ADDRESS)] == ["answer"] * 2
    clock.now_s += processor_time.ACTIVE_S
    assert await press(shares, CLIENTS[0]) == "answer", "the other tenant is not active any longer"
    assert not shares.press_priority.must_wait, "no press runs any longer"


async def test_presses_count_for_the_share_of_other_requests_of_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_time, "MAX_WAIT_S", 0)
    shares = ProcessorTime(clock=Clock())
    shares.note_activity(CLIENTS[0])
    shares.note_activity(OTHER)
    await press_until_the_next_must_wait(shares, CLIENTS[0])
    with pytest.raises(RateLimitExceeded, match="and tenant"):
        await shares.run(CLIENTS[1], answer)


async def test_waiting_press_runs_when_the_tenant_has_used_no_more_than_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    shares = ProcessorTime(clock=clock)
    shares.note_activity(CLIENTS[0])
    shares.note_activity(OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(processor_time, "MAX_WAIT_S", 0)
        await press_until_the_next_must_wait(shares, CLIENTS[0])
    waiting = [await start(press(shares, client)) for client in CLIENTS[:3]]
    behind = await start(press(shares, CLIENTS[4]))
    assert not any(each.done() for each in (*waiting, behind))
    clock.now_s += used_time.MAX_PAUSE_S
    shares.note_activity(OTHER)
    assert await asyncio.gather(*waiting, behind) == ["answer"] * 4
    with monkeypatch.context() as patch:
        patch.setattr(processor_time, "MAX_WAIT_S", 0)
        assert await press(shares, CLIENTS[4]) == "answer"
