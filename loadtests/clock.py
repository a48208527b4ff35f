"""Cost of the pure clock: one switch and one session document, with two participants and with a thousand.

The load test measures `apply` of a switch in `per_participant` with fischer, and of a change to one clock in
`individual`, without store and event loop. A change to one of 1,000 clocks is compared with a switch of two, and so is
an `adjust` of all 1,000 clocks, for each clock. It also measures rendering and parsing of a session document, alone and
with the previous version. Each switch continues the same session, so each state is new. Prints one JSON line with
microseconds of processor time, which other programs on the machine do not change.
"""

import gc
import statistics
import time
from collections.abc import Callable

from loadtests.report import print_result
from synckairos.clock import creation, engine
from synckairos.clock.commands import Adjust, Create, NewParticipant, Pause, Resume, Start, Switch
from synckairos.clock.model import Session, SyncMode
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session

SWITCHES = 5_000
ADJUSTS = 40
DOCUMENTS = {2: 2_000, 1_000: 60}
ROUNDS = 5

LIMIT_US = 20.0
LIMIT_RATIO = 5.0
LIMIT_RATIO_OF_EACH_CLOCK = 0.5


def running_session(participants: int) -> Session:
    """Return a session that has just started. Each participant has a budget of one day."""
    new_participants = tuple(
        NewParticipant(f"01980000-0000-7000-8000-{n:012d}", total_time_ms=86_400_000) for n in range(participants)
    )
    spec = Create(SyncMode.PER_PARTICIPANT, new_participants, increment_ms=2_000)
    created = creation.create(spec, "01980000-0000-7000-8000-ffffffffffff", "epoch", 1_750_000_000_000).state
    return engine.apply(created, Start(), 1_750_000_000_000).own[0].state


def measure_switches(participants: int) -> float:
    """Return the microseconds of one switch: the mean of many switches of one session."""
    state, command, now_ms = running_session(participants), Switch(), 1_750_000_000_000
    began = time.process_time()
    for _ in range(SWITCHES):
        now_ms += 1_500
        state = engine.apply(state, command, now_ms).own[0].state
    return (time.process_time() - began) / SWITCHES * 1e6


def _running_clocks(participants: int) -> Session:
    """Return a session in `individual` whose clocks all run. Each clock has another deadline."""
    people = tuple(
        NewParticipant(f"01980000-0000-7000-8000-{n:012d}", total_time_ms=86_400_000 + n) for n in range(participants)
    )
    now_ms = 1_750_000_000_000
    created = creation.create(Create(SyncMode.INDIVIDUAL, people), "01980000-0000-7000-8000-ffffffffffff", "e", now_ms)
    return engine.apply(created.state, Start(), now_ms).own[0].state


def measure_individual_changes(participants: int) -> float:
    """Return the microseconds of a change to one of many running clocks in `individual`: the mean of many changes.

    Each change pauses or resumes the clock of another participant.
    """
    state = _running_clocks(participants)
    now_ms = state.updated_at_ms
    began = time.process_time()
    for change in range(SWITCHES):
        now_ms += 1_500
        turn, position = divmod(change, participants)
        one = (state.participants[position].participant_id,)
        command = Resume(participant_ids=one) if turn % 2 else Pause(participant_ids=one)
        state = engine.apply(state, command, now_ms).own[0].state
    return (time.process_time() - began) / SWITCHES * 1e6


def measure_adjusts_of_all(participants: int) -> float:
    """Return the microseconds of one `adjust` of all running clocks in `individual`: the mean of many."""
    state, command = _running_clocks(participants), Adjust(1_000)
    now_ms = state.updated_at_ms
    began = time.process_time()
    for _ in range(ADJUSTS):
        now_ms += 1_500
        state = engine.apply(state, command, now_ms).own[0].state
    return (time.process_time() - began) / ADJUSTS * 1e6


def measure_calls(function: Callable[[], object], times: int) -> float:
    """Return the microseconds of one call of `function`: the mean of many calls."""
    began = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - began) / times * 1e6


def measure(participants: int) -> dict[str, float]:
    """Return each figure as the median of several rounds."""
    state, times = running_session(participants), DOCUMENTS[participants]
    document = render_session(state)
    known, after = RenderedSession.render(state), engine.apply(state, Switch(), 1_750_000_001_500).own[0].state
    known.parts()
    later = render_session(after)
    figures = {
        "apply_us": [measure_switches(participants) for _ in range(ROUNDS)],
        "individual_apply_us": [measure_individual_changes(participants) for _ in range(ROUNDS)],
        "individual_adjust_all_us": [measure_adjusts_of_all(participants) for _ in range(ROUNDS)],
        "render_us": [measure_calls(lambda: render_session(state), times) for _ in range(ROUNDS)],
        "render_next_us": [measure_calls(lambda: known.render_next(after), times) for _ in range(ROUNDS)],
        "parse_us": [measure_calls(lambda: parse_session(document), times) for _ in range(ROUNDS)],
        "parse_next_us": [measure_calls(lambda: RenderedSession.parse(later, known), times) for _ in range(ROUNDS)],
    }
    return {name: round(statistics.median(values), 1) for name, values in figures.items()} | {"bytes": len(document)}


def main() -> None:
    """Measure and print the figures, and print whether they are within their limits."""
    gc.collect()
    gc.freeze()
    two, thousand = measure(2), measure(1_000)
    ratio = thousand["apply_us"] / two["apply_us"]
    individual_ratio = thousand["individual_apply_us"] / two["apply_us"]
    each_clock_ratio = thousand["individual_adjust_all_us"] / 1_000 / two["apply_us"]
    print_result(
        "clock",
        {
            "participants_2": two,
            "participants_1000": thousand,
            "apply_ratio": round(ratio, 2),
            "individual_ratio": round(individual_ratio, 2),
            "each_adjusted_clock_ratio": round(each_clock_ratio, 2),
            "limits": {
                "apply_us": LIMIT_US,
                "apply_ratio": LIMIT_RATIO,
                "each_adjusted_clock_ratio": LIMIT_RATIO_OF_EACH_CLOCK,
            },
            "ok": two["apply_us"] <= LIMIT_US
            and max(ratio, individual_ratio) <= LIMIT_RATIO
            and each_clock_ratio <= LIMIT_RATIO_OF_EACH_CLOCK,
        },
    )
