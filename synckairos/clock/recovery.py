"""Recovery: what becomes of a session whose newest versions the store really lost.

The session goes on from the last version that is known, one version later and under a new epoch. Whether its clock ran
meanwhile is a matter of policy, which the operator declares.
"""

from dataclasses import dataclass
from typing import Literal

from synckairos.clock.adjust import adjust
from synckairos.clock.commands import Adjust
from synckairos.clock.model import EventType, Session, SyncMode, Transition
from synckairos.clock.timing import charge_until
from synckairos.clock.transitions import make_session_event, make_transition
from synckairos.fast_dataclass import replace


@dataclass(frozen=True, slots=True)
class OutagePolicy:
    """What an outage costs whoever's clock ran.

    `charge`: all of it. `freeze`: nothing since the last version that is known. `credit`: all of it, less `credit_ms`.
    """

    kind: Literal["charge", "freeze", "credit"] = "charge"
    credit_ms: int = 0

    @classmethod
    def parse(cls, text: str) -> "OutagePolicy":
        """Parse `charge`, `freeze` or `credit:<ms>`. Raises ValueError for anything else."""
        match text.split(":"):
            case ["charge"]:
                return cls("charge")
            case ["freeze"]:
                return cls("freeze")
            case ["credit", ms]:
                return cls("credit", int(ms))
        raise ValueError(f"an outage policy is charge, freeze or credit:<ms>, not {text!r}")


CHARGE = OutagePolicy()


def recover(state: Session, epoch: str, now_ms: int, policy: OutagePolicy = CHARGE) -> Transition:
    """Take a session up again from its last known version, under a new epoch.

    It takes effect where that version did, so that deadlines which passed meanwhile keep their instants; frozen time
    goes on from `now_ms`. Expects a session that isn't final.
    """
    at_ms = state.updated_at_ms
    if policy.kind == "freeze" and state.anchor_ms is not None:
        at_ms = max(now_ms, at_ms)
        again = replace(make_transition(charge_until(state, state.updated_at_ms), at_ms), anchor_ms=at_ms)
    elif policy.kind == "credit" and state.anchor_ms is not None and (added := _credit(state, policy)) is not None:
        credited = adjust(state, added, at_ms)
        again = make_transition(state, at_ms) if credited is None else credited.state
    else:
        again = make_transition(state, at_ms)
    recovered = replace(again, epoch=epoch)
    return Transition(make_session_event(EventType.SESSION_RECOVERED, recovered, at_ms), recovered)


def _credit(state: Session, policy: OutagePolicy) -> Adjust | None:
    """Name the budget that runs; None where nothing limits the time."""
    active = state.active_participant
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            return None if active is None else Adjust(policy.credit_ms, participant_ids=(active.participant_id,))
        case SyncMode.PER_GROUP:
            return None if active is None else Adjust(policy.credit_ms, group_id=active.group_id)
        case _:
            return None if state.remaining_ms is None else Adjust(policy.credit_ms)
