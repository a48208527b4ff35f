"""Rules of a clock system that concern several JSON members, in creations and in commands."""

from collections.abc import Iterator
from typing import Any

from synckairos.wire.field_types import MAX_STAGES
from synckairos.wire.unchecked_json import objects_in
from synckairos.wire.validation_faults import Fault, fault


def clock_faults(clock: Any, path: tuple[str | int, ...] = ("clock",)) -> Iterator[Fault]:
    """Yield the faults in a clock system of a request that concern several JSON members.

    `path` is the path to the clock system in the body. Yield no fault if `clock` is not an object.
    """
    if not isinstance(clock, dict):
        return
    if len(clock) != 1:
        yield fault(path, "should name exactly one clock system")
    stages = objects_in(MAX_STAGES, clock.get("stages"))
    for at, stage in stages[:-1]:
        if "moves" not in stage and stage.get("at_zero") is not True:
            yield fault((*path, "stages", at, "moves"), "required in all stages but the last, unless at_zero is true")
    for at, stage in stages:
        if "moves" in stage and stage.get("at_zero") is True:
            yield fault((*path, "stages", at, "at_zero"), "contradicts moves; omit one of them")
        if stage.get("delay_ms") and stage.get("increment_ms"):
            yield fault((*path, "stages", at, "delay_ms"), "contradicts increment_ms; omit one of them")
    if stages and stages[-1][1].get("at_zero") is True:
        yield fault((*path, "stages", stages[-1][0], "at_zero"), "no stage follows the last stage; omit this member")
    canadian = clock.get("canadian")
    if isinstance(canadian, dict) and "moves_max" in canadian:
        moves, most = canadian.get("moves"), canadian["moves_max"]
        if "moves_step" not in canadian:
            yield fault((*path, "canadian", "moves_max"), "is allowed only with moves_step")
        elif type(moves) is int and type(most) is int and most < moves:
            yield fault((*path, "canadian", "moves_max"), "should be at least moves")
