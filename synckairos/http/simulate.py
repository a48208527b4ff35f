"""`POST /v1/simulate`: the engine without a store. Long simulations let other requests through in between."""

import asyncio

import orjson

from synckairos.clock.simulation import Simulation
from synckairos.errors import IdempotencyKeyReused, SyncKairosError
from synckairos.http.operations import Operation
from synckairos.http.request import RestRequest, RestResponse
from synckairos.store.rate_limits import RateLimits
from synckairos.store.sessions import SessionStore
from synckairos.wire import response_models
from synckairos.wire.request_bodies import SimulationBody
from synckairos.wire.simulation_timeline import NIL_SESSION_ID, timed_commands, timeline_json

MAX_SLICE_S = 0.002
"""How long decisions are made before others get a turn."""

REPLAY_KEY_TTL_S = 3_600
"""How long an Idempotency-Key is remembered: what it stands for, not the answer, which comes out the same."""


class SimulateRoutes:
    """The one operation of the simulation."""

    def __init__(self, store: SessionStore, limits: RateLimits) -> None:
        self._store = store
        self._limits = limits

    def operations(self) -> list[Operation]:
        """Return the operations for the table."""
        return [
            Operation(
                "POST", "/v1/simulate", self.simulate, "Play a session through", "simulation",
                answer=response_models.SimulationAnswer, body=SimulationBody, body_required=True, refusals=(422,),
            )
        ]  # fmt: skip

    async def simulate(self, request: RestRequest) -> RestResponse:
        body = await request.read_body(SimulationBody)
        await self._limits.take(request.meter)
        is_replay = await self._is_replay(request)
        if is_replay:
            await self._limits.give_back(request.meter)
        try:
            simulation = await _run_simulation(body)
        except SyncKairosError as refusal:
            refusal.replayed = is_replay
            raise
        replayed = [(b"idempotency-replayed", b"true")] if is_replay else []
        return RestResponse(orjson.dumps({"data": timeline_json(simulation)}), headers=replayed)

    async def _is_replay(self, request: RestRequest) -> bool:
        """Tell whether this was asked before under its key. Raises IdempotencyKeyReused."""
        command_id = request.command_id()
        if command_id is None:
            return False
        fingerprint = request.fingerprint()
        kept = await self._store.reserve(
            f"simulate:{request.principal.scoped(command_id)}", fingerprint, REPLAY_KEY_TTL_S
        )
        if kept not in (None, fingerprint):
            raise IdempotencyKeyReused
        return kept is not None


async def _run_simulation(body: SimulationBody) -> Simulation:
    simulation = Simulation()
    session_id = body.session.session_id or NIL_SESSION_ID
    steps = simulation.run_stepwise(body.session.to_create(), timed_commands(body), body.until_ms, session_id)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    for _ in steps:
        if loop.time() - began_at >= MAX_SLICE_S:
            await asyncio.sleep(0)
            began_at = loop.time()
    return simulation
