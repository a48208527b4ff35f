"""Sessions with so many participants that each version is rendered from the version before."""

from collections.abc import Iterator

from synckairos.clock import creation, engine
from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import Create
from synckairos.clock.plan_item import PlanItem
from synckairos.clock.transition import Transition
from synckairos.frozen_replace import replace
from synckairos.wire.rendered_session import SPLICING_MIN_ROWS
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0

MISLEADING_TEXT = (
    ',"groups":[ },{"participant_id": ],"plan":[ },{"item_id": ],"active_participant_id": ,"metadata": '
    ',"turn":{"used_ms":'
)
"""A text with all separators by which a document is cut. Inside a JSON string the text must have no effect."""


def enlarge(spec: Create) -> Create:
    """Return a creation with more participants than `SPLICING_MIN_ROWS`, and with misleading texts.

    A session with a plan has many items instead, if its last item has a title.
    """
    if isinstance(spec.clock, Hourglass):
        return spec  # an hourglass has exactly two participants
    few = spec.participants
    more = (
        replace(few[at % len(few)], participant_id=f"E{at}", display_name=MISLEADING_TEXT)
        for at in range(2 * SPLICING_MIN_ROWS)
    )
    plan = spec.plan
    if plan and plan[-1].title is not None:
        items = (PlanItem(f"E{at}", 1_000, MISLEADING_TEXT) for at in range(2 * SPLICING_MIN_ROWS))
        return replace(spec, plan=(*plan, *items))
    metadata = {MISLEADING_TEXT: [{MISLEADING_TEXT: MISLEADING_TEXT}]}
    return replace(spec, participants=(*few, *more), metadata=metadata)


def random_large_history(tape: Bytes) -> Iterator[Transition]:
    """Yield the transitions of a random history of a session with many participants, up to its deletion."""
    spec = enlarge(draw_creation(tape))
    transition = creation.create(spec, "s", "e", T0)
    yield transition
    now_ms, state = T0, transition.state
    for wait_ms, command, _ in commands(tape, 12, spec.plan):
        now_ms += wait_ms
        for transition in engine.apply(state, command, now_ms).all_transitions:
            state = transition.state
            if state.deleted:
                return
            yield transition
