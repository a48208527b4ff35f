"""Charges: which participant used how much time, from when to when, as each version says it.

A version charges time if it moves the anchor of a running clock, as a switch, a pause, an adjust or the end of the
session does. A warning charges nothing, so the next charge also covers the time before the warning. The sum of the
charges of a participant is its used time. Some time is charged to no participant: pauses, compensated lag, and outages
under the outage policy `freeze`.
"""

from collections.abc import Iterable, Iterator
from itertools import compress, count
from operator import attrgetter, is_not

from synckairos.clock.individual.clock_rows import ClockRows
from synckairos.clock.model import Session, SyncMode
from synckairos.clock.recorded_times import RECORDING_EVENTS, recorded_charges
from synckairos.clock.transition import Charge, Event, EventType, Transition
from synckairos.frozen_replace import replace


def with_charges(before: Session, transition: Transition) -> Transition:
    """Return a transition of the engine with the charges of the participants whose clocks ran in `before`.

    `before` is the state to which the transition applies. Return `transition` unchanged if it charges no time.
    """
    if before.rules.sync_mode is SyncMode.INDIVIDUAL:
        charges = _charges_of_clocks(before, transition)
        return (
            Transition(replace(transition.event, charges=tuple(charges)), transition.state) if charges else transition
        )
    position, anchor_ms = before.active_position, before.anchor_ms
    if position is None or anchor_ms is None:
        return transition
    runner = before.participants[position]
    after = transition.state.participants
    if position < len(after) and after[position].participant_id == runner.participant_id:
        used_ms = after[position].used_ms
    elif transition.event.participant_id == runner.participant_id and transition.event.used_ms is not None:
        used_ms = transition.event.used_ms  # the participant left, or another participant joined before it
    else:
        return transition  # only a participant joined or left, which charges no time to others
    charged_ms = used_ms - runner.used_ms
    if charged_ms <= 0:
        return transition
    charge = Charge(runner.participant_id, anchor_ms, anchor_ms + charged_ms)
    return Transition(replace(transition.event, charges=(charge,)), transition.state)


def charges_in_effect(events: Iterable[Event], earlier: Iterable[Charge] = ()) -> list[Charge]:
    """Return the charges of consecutive events that count, in order, after `earlier`, those of earlier events.

    An amendment makes all charges before it void, and an undo those after the instant that it restores. Events that do
    not say their charges add none.
    """
    found = [*earlier]
    for event in events:
        if event.type is EventType.SESSION_AMENDED:
            found.clear()
        elif (restored_at_ms := event.restored_at_ms) is not None:
            found = [charge for charge in found if charge.ended_at_ms <= restored_at_ms]
        found += event.charges or ()
    return found


def _changed_positions(before: Session, transition: Transition) -> Iterable[int]:
    """Return the positions of the participants in `individual` whose clocks can have charged time.

    An event that names participants charges time to no others, so only other events need a scan of all participants.
    """
    event, rows = transition.event, before.participants
    names = event.participant_ids if event.participant_id is None else (event.participant_id,)
    if names and isinstance(rows, ClockRows):
        positions = rows.positions_by_id()
        return [positions[name] for name in names if name in positions]
    return compress(count(), map(is_not, rows, transition.state.participants))


def _charges_of_clocks(before: Session, transition: Transition) -> list[Charge]:
    """Return the charges of a transition in `individual`, in the order of participant ids."""
    old, new, event = before.participants, transition.state.participants, transition.event
    if len(old) == len(new):
        pairs = [(old[at], new[at].used_ms) for at in _changed_positions(before, transition)]
    elif event.type is EventType.PARTICIPANT_REMOVED:
        pairs = [(row, event.used_ms or 0) for row in old if row.participant_id == event.participant_id]
    else:
        pairs = []  # a participant joined, which charges no time
    charges = [
        Charge(row.participant_id, anchor_ms, anchor_ms + used_ms - row.used_ms)
        for row, used_ms in pairs
        if used_ms > row.used_ms and row.individual is not None and (anchor_ms := row.individual.anchor_ms) is not None
    ]
    charges.sort(key=attrgetter("participant_id"))
    return charges


def charges_between(before: Session | None, event: Event, after: Session) -> tuple[Charge, ...]:
    """Return the charges of a version that does not say them: the differences of used times to an earlier version.

    `before` is None if no earlier version is known. `event` is the event that led to `after`. A charge begins at the
    anchor of `before` if the clock of the participant ran there. Any other charge ends at the instant of the event:
    the versions between `before` and `after` are unknown, so it is unknown when the time was used. The document of a
    recorded or amended session contains all its charges.
    """
    if event.type in RECORDING_EVENTS:
        return recorded_charges(after)
    return tuple(_charges_between(before, event, after))


def _charges_between(before: Session | None, event: Event, after: Session) -> Iterator[Charge]:
    used_before = {} if before is None else {each.participant_id: each.used_ms for each in before.participants}
    used_after = {each.participant_id: each.used_ms for each in after.participants}
    if event.participant_id is not None and event.participant_id not in used_after and event.used_ms is not None:
        used_after[event.participant_id] = event.used_ms  # the participant left in this version
    anchors = {} if before is None else _anchors(before)
    for participant_id, used_ms in sorted(used_after.items()):
        charged_ms = used_ms - used_before.get(participant_id, 0)
        if charged_ms <= 0:
            continue
        began_ms = anchors.get(participant_id, event.at_ms - charged_ms)
        yield Charge(participant_id, began_ms, began_ms + charged_ms)


def _anchors(state: Session) -> dict[str, int]:
    """Return the anchor of each running clock, by the id of its participant."""
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        clocks = ((row.participant_id, row.individual) for row in state.participants)
        return {name: clock.anchor_ms for name, clock in clocks if clock is not None and clock.anchor_ms is not None}
    runner, anchor_ms = state.active_participant, state.anchor_ms
    return {} if runner is None or anchor_ms is None else {runner.participant_id: anchor_ms}
