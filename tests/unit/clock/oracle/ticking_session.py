"""A session in which participants take turns, advanced tick by tick.

The session keeps its facts as plain lists. At each tick the running clock ticks, and then everything that is due at
this instant happens. `turn_commands.py` applies commands.
"""

from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.clock.transition import EventType
from tests.unit.clock.oracle.facts import PauseReason
from tests.unit.clock.oracle.turns import Turns


class TickingSession(Turns):
    """A session in a mode with turns. All times are in ticks since the creation."""

    def pass_time(self, ticks: int) -> None:
        """Let time pass. `timeouts` then has the participants whose turns ended by time."""
        self.timeouts = []
        self.apply_due()
        for _ in range(ticks):
            self.now += 1
            if self.status is Status.RUNNING:
                self.run()
            self.apply_due()

    def run(self) -> None:
        """Let the turn run for one tick."""
        seat, item = self.seat(self.active), self.item_of(self.item)
        self.used += 1
        self.turn_used += 1
        if self.begun:
            self.begun[-1].ran += 1
        if seat is not None:
            seat.used += 1
            if (team := self.team_of(seat.team)) is not None:
                team.used += 1
        if item is not None:
            item.used += 1
        if self.is_free:
            return
        if (clock := self.running_clock) is not None:
            clock.tick()
            if isinstance(clock.system, Hourglass):
                other = next(each for each in self.seats if each.name != self.active)
                assert other.clock is not None
                other.clock.left += 1

    def apply_due(self) -> None:
        """Apply everything that is due at this instant: starts, ends of pauses, warnings, zeros."""
        while self._apply_next_due():
            pass

    def _apply_next_due(self) -> bool:
        if self.status is Status.PENDING and self.starts is not None and self.starts <= self.now:
            self.start()
            self.note(EventType.SESSION_STARTED)
            return True
        if self.status is Status.RUNNING and self._is_closed_by_done():
            self.timeouts.append(self.active)
            self.end_turn_and_go_on(None, None, self.spec.holds_between_turns)
            self.note(EventType.SESSION_COMPLETED if self.is_over else EventType.CYCLE_SWITCHED)
            return True
        lifted = [each for each in self.pauses if each.until is not None and each.until <= self.now]
        if self.status is Status.PAUSED and lifted:
            self.lift(lifted)
            self.note(EventType.SESSION_RESUMED)
            return True
        runs_in_pause = self.status is Status.PAUSED and self.ends is not None
        return (self.status is Status.RUNNING or runs_in_pause) and self._apply_clock()

    def _is_closed_by_done(self) -> bool:
        counted = [each for each in self.seats if self.can_get_turns(each)]
        is_done = bool(counted) and all(each.done_in == self.turn_number for each in counted)
        return self.spec.closes_when_all_done and is_done

    def _apply_clock(self) -> bool:
        """Apply the next warning or the zero of the clock, if it is due."""
        if not (self.spec.warnings_ms or self.plan) and self.ends is None and not self.is_free:
            clock = self.running_clock  # without warnings only the zero matters, so no ticks have to be counted
            left = None if clock is None else min(0, clock.left) if clock.has_run_out else 1
        else:
            left = self.left
        if left is None:
            return False
        if self.overtime or left > 0:
            for threshold in self.thresholds:
                if threshold < 0 and not self.is_in_overtime:
                    break
                if threshold not in self.warned and left <= threshold:
                    self.warned.add(threshold)
                    self.note(EventType.TIME_WARNING)
                    return True
        if left > 0 or (self.is_in_overtime and not self.is_free):
            return False
        if self.overtime and not self.is_free:
            self.is_in_overtime = True
            self.note(EventType.OVERTIME_STARTED)
        else:
            self.timeouts.append(self.active)
            self._time_out()
        return True

    def _time_out(self) -> None:
        if self.is_free:
            self.end(Status.CANCELLED, by_time=True)
            self.note(EventType.SESSION_CANCELLED)
            return
        seat = self.seat(self.active)
        if self.spec.sync_mode is SyncMode.PER_PARTICIPANT and seat is not None:
            seat.is_out = True
        team = None if seat is None else self.team_of(seat.team)
        if self.spec.sync_mode is SyncMode.PER_GROUP and team is not None:
            team.is_out = True
        match self.spec.on_timeout:
            case OnTimeout.PAUSE:
                self.status = Status.PAUSED
                self.pauses.append(PauseReason("timeout"))
                self.note(EventType.SESSION_PAUSED)
            case OnTimeout.ADVANCE:
                self._advance()
            case _:
                self.end(Status.EXPIRED, by_time=True)
                self.note(EventType.SESSION_EXPIRED)

    def _advance(self) -> None:
        events = {
            SyncMode.PER_PARTICIPANT: EventType.PARTICIPANT_EXPIRED,
            SyncMode.PER_GROUP: EventType.GROUP_EXPIRED,
            SyncMode.PER_CYCLE: EventType.CYCLE_EXPIRED,
        }
        before = self.ending_turn()
        self.count_turn(replenishes=False)
        self.choose_item(None)
        following = self.following(self.active)
        if self.plan and self.next_item is None:
            self.end(Status.COMPLETED, by_time=True, ended_in=before)
            self.note(EventType.SESSION_COMPLETED)
            return
        if self.names_owners:
            following = self.owner_of_next_item()
        elif self.spec.sync_mode not in events or following is None or self.was_last_cycle():
            self.end(Status.EXPIRED, by_time=True, ended_in=before)
            self.note(EventType.SESSION_EXPIRED)
            return
        self.renew_budget()
        if self.spec.holds_between_turns:
            self.hold(following)
        else:
            self.begin_turn(following)
        self.note(events[self.spec.sync_mode])

    def note(self, event: EventType) -> None:
        """Note an event that time caused."""
        self.log.append((self.now, event))
