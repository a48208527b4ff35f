"""Sessions with so many participants that each version is rendered from the version before."""

from collections.abc import Iterator

from synckairos.clock import creation, engine
from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import Create
from synckairos.clock.model import Transition
from synckairos.frozen_replace import replace
from synckairos.wire.rendered_session import SPLICING_MIN_PARTICIPANTS
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0

MISLEADING_TEXT = ',"groups":[ },{"participant_id": ],"active_participant_id": ,"metadata": ,"turn":{"used_ms":'
"""A text with all separators by which a document is cut. Inside a JSON string the text must have no effect."""


def enlarge(spec: Create) -> Create:
    """Return a creation with more participants than `SPLICING_MIN_PARTICIPANTS`, and with misleading texts."""
    if isinstance(spec.clock, Hourglass):
        return spec  # an hourglass has exactly two participants
    few = spec.participants
    more = (
        replace(few[at % len(few)], participant_id=f"E{at}", display_name=MISLEADING_TEXT)
        for at in range(2 * SPLICING_MIN_PARTICIPANTS)
    )
    metadata = {MISLEADING_TEXT: [{MISLEADING_TEXT: MISLEADING_TEXT}]}
    return replace(spec, participants=(*few, *more), metadata=metadata)


def random_large_history(tape: Bytes) -> Iterator[Transition]:
    """Yield the transitions of a random history of a session with many participants, up to its deletion."""
    transition = creation.create(enlarge(draw_creation(tape)), "s", "e", T0)
    yield transition
    now_ms, state = T0, transition.state
    for wait_ms, command, _ in commands(tape, 12):
        now_ms += wait_ms
        for transition in engine.apply(state, command, now_ms).all_transitions:
            state = transition.state
            if state.deleted:
                return
            yield transition
