"""Recovery of a session whose latest versions Redis has lost.

The session continues from the last version that Postgres has, with the next version number and a new epoch. The
operator's outage policy determines whether its clock ran during the outage.
"""

from typing import Literal

from msgspec import Struct

from synckairos.clock.adjust import adjust
from synckairos.clock.begin_turn import block_undo
from synckairos.clock.charges import with_charges
from synckairos.clock.commands import Adjust
from synckairos.clock.individual.adjust_clocks import adjust as adjust_clocks
from synckairos.clock.individual.all_clocks import freeze_clocks
from synckairos.clock.individual.row_clock import individual_clock
from synckairos.clock.make_transition import make_session_event, with_next_version
from synckairos.clock.model import Session, SyncMode
from synckairos.clock.timing import charge_session_until
from synckairos.clock.transition import EventType, Transition
from synckairos.frozen_replace import replace


class OutageChargePolicy(Struct, frozen=True):
    """The policy that determines how much of an outage is charged to the running budget.

    `charge`: the whole outage. `freeze`: nothing; the time from the last stored version to the recovery is free.
    `credit`: the whole outage, but `credit_ms` are first added to the budget.
    """

    kind: Literal["charge", "freeze", "credit"] = "charge"
    credit_ms: int = 0

    @classmethod
    def parse(cls, text: str) -> "OutageChargePolicy":
        """Parse `charge`, `freeze` or `credit:<ms>`.

        Raises: ValueError for any other text.
        """
        match text.split(":"):
            case ["charge"]:
                return cls("charge")
            case ["freeze"]:
                return cls("freeze")
            case ["credit", ms]:
                return cls("credit", int(ms))
        raise ValueError(f"an outage policy is charge, freeze or credit:<ms>, not {text!r}")


CHARGE = OutageChargePolicy()


def recover_session(
    state: Session, epoch: str, now_ms: int, policy: OutageChargePolicy = CHARGE, after_version: int = 0
) -> Transition:
    """Return the transition that continues a session under a new epoch. `state` is the last version that was not lost.

    The new version number is the first one after the version of `state` and after `after_version`, the highest version
    number that is known to be lost.

    The instant of the recovery is the instant of that version, so deadlines during the outage keep their instants. Only
    under `freeze` with a running clock, the instant of the recovery is `now_ms`, and the clock continues from `now_ms`.
    """
    at_ms = state.updated_at_ms
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        continued = _continue_clocks(state, now_ms, policy)
        at_ms = continued.updated_at_ms
    elif policy.kind == "freeze" and state.anchor_ms is not None:
        at_ms = max(now_ms, at_ms)
        continued = replace(with_next_version(charge_session_until(state, state.updated_at_ms), at_ms), anchor_ms=at_ms)
    elif policy.kind == "credit" and state.anchor_ms is not None and (credit := _credit(state, policy)) is not None:
        credited = adjust(state, credit, at_ms)
        continued = with_next_version(state, at_ms) if credited is None else credited.state
    else:
        continued = with_next_version(state, at_ms)
    recovered = replace(block_undo(continued), epoch=epoch, version=max(state.version, after_version) + 1)
    event = make_session_event(EventType.SESSION_RECOVERED, recovered, at_ms)
    return with_charges(state, Transition(event, recovered))


def _continue_clocks(state: Session, now_ms: int, policy: OutageChargePolicy) -> Session:
    """Return the next version of a session in `individual`, whose clocks each continue by the policy."""
    at_ms = state.updated_at_ms
    running = tuple(row.participant_id for row in state.participants if individual_clock(row).anchor_ms is not None)
    if policy.kind == "freeze" and running:
        at_ms = max(now_ms, at_ms)
        return with_next_version(freeze_clocks(state, at_ms), at_ms)
    if policy.kind == "credit" and running:
        credited = adjust_clocks(state, Adjust(policy.credit_ms, running), at_ms)
        if credited is not None:
            return credited.state
    return with_next_version(state, at_ms)


def _credit(state: Session, policy: OutageChargePolicy) -> Adjust | None:
    """Return the command that adds the credit to the running budget, None if no budget runs."""
    active = state.active_participant
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            return None if active is None else Adjust(policy.credit_ms, participant_ids=(active.participant_id,))
        case SyncMode.PER_GROUP:
            return None if active is None else Adjust(policy.credit_ms, group_id=active.group_id)
        case _:
            return None if state.remaining_ms is None else Adjust(policy.credit_ms)
