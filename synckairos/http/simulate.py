"""REST route `POST /v1/simulate`: runs a session through the clock engine in simulated time and stores nothing.

During a long simulation the instance also serves other requests.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import TypeVar

import orjson

from synckairos.clock.simulation import Simulation
from synckairos.errors import IdempotencyKeyReused, SyncKairosError, ValidationFailed
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse, render_data_envelope
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.fair_queue import FairQueue
from synckairos.limits.running_request import run_in_thread
from synckairos.limits.work_limits import SIMULATION_STEPS
from synckairos.store.rate_limits import RateLimits
from synckairos.store.sessions import SessionStore
from synckairos.wire import response_models
from synckairos.wire.simulation_body import SimulationBody
from synckairos.wire.simulation_run import NIL_SESSION_ID, estimate_cost_in_steps, timed_commands, timeline_json

T = TypeVar("T")

MAX_SLICE_S = 0.0005
"""Maximum seconds for which a simulation runs before other tasks of the event loop can run."""

PAUSE_RATIO = 3
"""Duration of the pause after a slice while other clients are active, as a multiple of the slice's duration."""

THREAD_COUNT = 100
"""Number of commands of a request, or of rows of a timeline, above which they are converted in a thread.

The conversion of this number takes about 0.4 ms.
"""

REPLAY_KEY_TTL_S = 3_600
"""Seconds for which Redis keeps an `Idempotency-Key` with the fingerprint of its request.

The answer is not kept. A repeated request runs the simulation again, which always has the same result.
"""


class SimulateRoutes:
    """REST operation that simulates a session."""

    def __init__(self, store: SessionStore, rate_limits: RateLimits, work: ClientWorkLimits) -> None:
        self._store = store
        self._rate_limits = rate_limits
        self._work = work
        self._slices = FairQueue()

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "POST", "/v1/simulate", "simulate", self.simulate,
                "Simulate a session; nothing is stored", "simulation",
                response_model=response_models.SimulationAnswer, body_model=SimulationBody, is_body_required=True,
                refusal_statuses=(422,),
            )
        ]  # fmt: skip

    async def simulate(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/simulate`: simulate a session. Nothing is stored."""
        if request.has_large_body:
            # The parsing takes more time than most simulations. So a simulation that would be refused is not parsed.
            self._work.require_refused_amount(request.principal.limited_client_id, SIMULATION_STEPS)
        client = request.principal.limited_client_id
        async with AsyncExitStack() as turn:

            async def wait_for_turn() -> None:
                await turn.enter_async_context(self._work.wait_for_simulation_turn(client))

            # A parsed body has thousands of objects. So it is parsed in the turn, and bytes wait for the turn.
            body = await request.read_body(SimulationBody, wait_for_turn=wait_for_turn)
            await self._rate_limits.count(request.meter)
            self._charge(request, await _call(len(body.commands), lambda: estimate_cost_in_steps(body)))
            is_replay = await self._is_replay(request)
            if is_replay:
                await self._rate_limits.recount_as_replay(request.meter)
            try:
                simulation = await self._run(body, client)
            except SyncKairosError as refusal:
                refusal.replayed = is_replay
                raise
        replayed = [(b"idempotency-replayed", b"true")] if is_replay else []
        result = await _call(len(simulation.rows), lambda: orjson.dumps(timeline_json(simulation)))
        return RestResponse(render_data_envelope(result, request.warnings), headers=replayed)

    def _charge(self, request: RestRequest, steps: int) -> None:
        """Charge `steps`, the estimated steps of a simulation, to the client.

        A replay is also charged, because the simulation runs again. Raises, and then charges nothing: ValidationFailed
        if `steps` exceeds the maximum of one simulation, RateLimitExceeded if the budget of the client or the limit of
        its tenant is used up.
        """
        most = self._work.scaled_limit(SIMULATION_STEPS).burst
        if steps > most:
            text = f"take {steps:,} steps together; a simulation has at most {most:,}"
            raise ValidationFailed.at_path("commands", text)
        self._work.tenants.charge_simulation(request.principal.tenant)
        self._work.charge(request.principal.limited_client_id, SIMULATION_STEPS, steps)

    async def _is_replay(self, request: RestRequest) -> bool:
        """Reserve the request's `Idempotency-Key`. Return whether an equal request has reserved it before.

        Return False if the request has no `Idempotency-Key`. A reservation ends after `REPLAY_KEY_TTL_S` seconds.

        Raises: IdempotencyKeyReused if another request has reserved the key. ValidationFailed if the key is invalid.
        """
        command_id = request.parse_command_id()
        if command_id is None:
            return False
        fingerprint = request.fingerprint()
        stored = await self._store.reserve_command_id(
            f"simulate:{request.principal.qualify_request_id(command_id)}", fingerprint, REPLAY_KEY_TTL_S
        )
        if stored not in (None, fingerprint):
            raise IdempotencyKeyReused
        return stored is not None

    async def _run(self, body: SimulationBody, client: str) -> Simulation:
        """Run a simulation in slices of `MAX_SLICE_S`. The simulations of all clients run one slice after the other.

        While other clients are active, a pause of `PAUSE_RATIO` times the duration of the slice follows each slice. So
        all simulations together then use a quarter of the processor time.
        """
        simulation = Simulation(created_at_ms=body.created_at_ms)
        session_id = body.session.session_id or NIL_SESSION_ID
        commands = await _call(len(body.commands), lambda: timed_commands(body))
        steps = simulation.run_stepwise(body.session.to_create(), commands, body.until_ms, session_id)
        processor_time = self._work.processor_time
        while True:
            async with self._slices.turn(client):
                used_s = _run_slice(steps)
                if used_s is None:
                    return simulation
                await asyncio.sleep(used_s * PAUSE_RATIO if processor_time.has_other_clients(client) else 0)


async def _call(count: int, function: Callable[[], T]) -> T:
    """Call a function that processes `count` commands or rows, and return its result.

    If `count` exceeds `THREAD_COUNT`, the function is called in a thread.
    """
    return await run_in_thread(function) if count > THREAD_COUNT else function()


def _run_slice(steps: Iterator[None]) -> float | None:
    """Run steps of a simulation for `MAX_SLICE_S`. Return the seconds that they took; None after the final step."""
    began_s = time.perf_counter()
    for _ in steps:
        used_s = time.perf_counter() - began_s
        if used_s >= MAX_SLICE_S:
            return used_s
    return None
