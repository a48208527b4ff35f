"""Simulations: conversion of a request to values of `clock`, and of the result to a timeline in JSON."""

from typing import Any

import orjson

from synckairos.clock.model import Session
from synckairos.clock.simulation import Simulation, TimedCommand, TimelineRow, simulate
from synckairos.clock.update_session import MAX_METADATA_BYTES
from synckairos.wire.body_parser import parse_body
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.input_warnings import request_warnings
from synckairos.wire.session_json import session_json
from synckairos.wire.simulation_body import SimulationBody
from synckairos.wire.validation_faults import Fault

NIL_SESSION_ID = "00000000-0000-0000-0000-000000000000"
"""The nil UUID: the session id of a simulation whose request has no session id."""


SLOW_VERBS = frozenset({"done", "adjust", "undo", "add_participant", "remove_participant", "update_participant"})
"""Commands whose cost in a simulation grows with the number of participants in each mode."""

SLOW_VERBS_OF_CLOCKS = frozenset(
    {"start", "pause", "resume", "finish", "reopen", "complete", "cancel", "update_session"}
)
"""Commands whose cost in a simulation grows with the number of participants in `individual`."""

PLAN_VERBS = frozenset({"switch", "done", "set_plan", "resume", "remove_participant"})
"""Commands whose cost in a simulation grows with the number of plan items."""

PARTICIPANTS_PER_STEP = 15
ADJUSTED_CLOCKS_PER_STEP = 2
METADATA_BYTES_PER_STEP = 640
PLAN_ITEMS_PER_STEP = 40
COMMANDS_PER_STEP = 60
"""The five constants are chosen so that one step of any command takes about 20 µs.

`ADJUSTED_CLOCKS_PER_STEP` concerns an `adjust` of all clocks in `individual`. `COMMANDS_PER_STEP` concerns `amend`,
which looks at the charges of all commands before it.
"""


def estimate_cost_in_steps(body: SimulationBody) -> int:
    """Return the estimated cost of a simulation's commands in steps of about 20 µs, without running the simulation.

    Overdue transitions are not part of the estimate.
    """
    session, steps = body.session, 0
    participants, metadata_bytes = len(session.participants or ()), len(orjson.dumps(session.metadata or {}))
    items = len(session.plan or ())
    # The commands run in the order of their instants, which is not always their order in the request.
    for number, each in enumerate(sorted(body.commands, key=lambda timed: timed.at_ms)):
        steps += 1
        if each.command == "update_metadata":
            metadata_bytes = min(MAX_METADATA_BYTES, metadata_bytes + len(orjson.dumps(each.args.metadata)))
            steps += metadata_bytes // METADATA_BYTES_PER_STEP
        elif each.command in SLOW_VERBS or (session.sync_mode == "individual" and each.command in SLOW_VERBS_OF_CLOCKS):
            participants += each.command == "add_participant"
            adjusts_clocks = session.sync_mode == "individual" and each.command == "adjust"
            is_adjust_of_all = adjusts_clocks and each.args.participant_ids is None
            steps += participants // (ADJUSTED_CLOCKS_PER_STEP if is_adjust_of_all else PARTICIPANTS_PER_STEP)
        if each.command == "amend":
            steps += number // COMMANDS_PER_STEP
        if each.command == "set_plan":
            items = len(each.args.plan)
        if items and each.command in PLAN_VERBS:
            steps += items // PLAN_ITEMS_PER_STEP
    return steps


def timed_commands(body: SimulationBody) -> list[TimedCommand]:
    """Return the commands of a simulation as values of `clock`, in the order of the request."""
    commands = []
    for each in body.commands:
        args: CommandBody = each.args
        commands.append(TimedCommand(each.at_ms, args.to_command(), args.to_precondition()))
    return commands


def timeline_json(simulation: Simulation) -> dict[str, Any]:
    """Return the JSON object of a finished simulation: the rows of its timeline, and the session at the end."""
    assert isinstance(simulation.state, Session)
    return {"timeline": [_row_json(row) for row in simulation.rows], "final": session_json(simulation.state)}


def _row_json(row: TimelineRow) -> dict[str, Any]:
    if row.refusal_code is not None:
        return {"at_ms": row.at_ms, "refused": row.refusal_code, "message": row.refusal_message}
    document: dict[str, Any] = {"at_ms": row.at_ms, "event_type": row.event_type, "version": row.version}
    if row.participant_id is not None:
        document["participant_id"] = row.participant_id
    if row.participant_ids:
        document["participant_ids"] = row.participant_ids
    if row.charges:
        document["charges"] = [
            {"participant_id": each.participant_id, "from_ms": each.began_at_ms, "to_ms": each.ended_at_ms}
            for each in row.charges
        ]
    return document


def run_simulation(value: Any) -> dict[str, Any]:
    """Run the simulation that a request describes to its end, and return the timeline as JSON values.

    Raises: ValidationFailed with every fault of the request, or if the timeline has too many rows.
    """
    body = parse_body(SimulationBody, value)
    session_id = body.session.session_id or NIL_SESSION_ID
    simulation = simulate(body.session.to_create(), timed_commands(body), body.until_ms, session_id, body.created_at_ms)
    return timeline_json(simulation)


def simulation_warnings(value: Any) -> list[Fault]:
    """Return the warnings of a simulation request: the members of the request that have no effect.

    Raises: ValidationFailed if the request is not valid.
    """
    return request_warnings(parse_body(SimulationBody, value), value)
