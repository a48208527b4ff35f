"""`POST /v1/simulate`: the engine without a store. Long simulations let other requests through in between."""

import asyncio

import orjson

from synckairos.clock.simulation import Simulation
from synckairos.http.call import Call, Reply
from synckairos.http.operation import Operation
from synckairos.store.limits import Limits
from synckairos.wire import answers
from synckairos.wire.requests import SimulationBody
from synckairos.wire.timeline import NOBODY, timed_commands, timeline_json

AT_ONCE_S = 0.002
"""How long decisions are made before others get a turn."""


class SimulateRoutes:
    """The one operation of the simulation."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def operations(self) -> list[Operation]:
        """Return the operations for the table."""
        return [
            Operation(
                "POST", "/v1/simulate", self.simulate, "Play a session through", "simulation",
                answer=answers.SimulationAnswer, body=SimulationBody, body_required=True,
            )
        ]  # fmt: skip

    async def simulate(self, call: Call) -> Reply:
        body = await call.body(SimulationBody)
        call.standings = await self._limits.take(call.quotas())
        simulation = Simulation()
        session_id = body.session.session_id or NOBODY
        steps = simulation.play(body.session.spec(), timed_commands(body), body.until_ms, session_id)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for _ in steps:
            if loop.time() - began_at >= AT_ONCE_S:
                await asyncio.sleep(0)
                began_at = loop.time()
        return Reply(orjson.dumps({"data": timeline_json(simulation)}))
