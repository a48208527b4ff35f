"""The turns of a ticking session: their begin, their end, the rotation, the plan and the hold."""

import copy

from synckairos.clock.model import ExtendBy, Status, SyncMode
from synckairos.clock.plan_item import ItemStatus
from tests.unit.clock.oracle.facts import BegunTurn, EndedIn, Facts, PauseReason, RefusedError
from tests.unit.clock.oracle.session_facts import SUDDEN_DEATH, SessionFacts
from tests.unit.clock.oracle.ticking_clock import TickingClock, in_ticks


class Turns(SessionFacts):
    """A session whose turns begin and end."""

    def start(self) -> None:
        """Start the session and its first turn."""
        self.status, self.has_started = Status.RUNNING, True
        first = self.active or self.following(None)
        if self.plan:
            self.next_item = self.plan[0].name
            first = self.owner_of_next_item() if self.names_owners else first
        self.begin_turn(first)

    def begin_turn(self, name: str | None) -> None:
        """Begin a turn, of the next item if there is one."""
        self.active, self.turn_used = name, 0
        self.turn_number += 1
        if (item := self.item_of(self.next_item)) is not None:
            item.status = ItemStatus.RUNNING
            self.item, self.next_item = item.name, None
        if (clock := self.running_clock) is not None:
            clock.begin()
        self.pass_thresholds()
        self.begun.append(BegunTurn(self._facts()))

    def pass_thresholds(self) -> None:
        """Count the thresholds at or above the reading as passed."""
        left = self.left
        self.warned = set() if left is None else {each for each in self.thresholds if each >= left}
        self.is_in_overtime = self.overtime and not self.is_free and left is not None and left <= 0

    def _facts(self) -> Facts:
        return copy.deepcopy(
            Facts(
                self.seats,
                self.teams,
                self.budget,
                self.plan,
                self.active,
                self.item,
                self.used,
                self.ended_turns,
                self.extensions,
            )
        )

    def hold(self, name: str | None) -> None:
        """Show the next turn, whose clock does not run."""
        self.active, self.turn_used = name, 0
        self.warned, self.is_in_overtime = set(), False
        self.status = Status.PAUSED
        self.pauses = [each for each in self.pauses if each.name != "timeout"]
        self.pauses.append(PauseReason("hold"))

    def lift(self, lifted: list[PauseReason]) -> None:
        """End reasons of a pause. The end of a hold begins the next turn."""
        self.pauses = [each for each in self.pauses if each not in lifted]
        self.status = Status.PAUSED if self.pauses else Status.RUNNING
        if any(each.name == "hold" for each in lifted):
            self.begin_turn(self.active)

    def count_turn(self, *, replenishes: bool, is_flagged: bool = False) -> None:
        """End the turn, which brings time if it `replenishes`."""
        self.ended_turns += 1
        is_free, seat = self.is_free, self.seat(self.active)
        mode = self.spec.sync_mode
        if seat is not None:
            if mode is SyncMode.PER_PARTICIPANT and replenishes and not is_free:
                assert seat.clock is not None
                seat.clock.end(is_flagged)
                seat.is_out = seat.is_out and seat.clock.left <= 0
            seat.turns += 1
            team = self.team_of(seat.team)
            if mode is SyncMode.PER_GROUP and replenishes and team is not None and team.clock is not None:
                team.clock.end(is_flagged)
                team.is_out = team.is_out and team.clock.left <= 0
        self.finish_item()

    def finish_item(self) -> None:
        """Note that the item that runs is done."""
        item = self.item_of(self.item)
        if item is not None and item.status is ItemStatus.RUNNING:
            item.status = ItemStatus.DONE

    def choose_item(self, name: str | None) -> None:
        """Choose the item of the next turn: the item `name`, or else the next in the list."""
        if name is not None:
            if self.item_of(name) is None:
                raise RefusedError
            self.next_item = name
        elif self.item is not None:
            names = [each.name for each in self.plan]
            after = names[names.index(self.item) + 1 :]
            self.next_item = after[0] if after else None

    def owner_of_next_item(self) -> str | None:
        """Return the participant that the next item names, None if it has left."""
        item = self.item_of(self.next_item)
        assert item is not None
        return item.owner if self.seat(item.owner) is not None else None

    def was_last_cycle(self) -> bool:
        if self.plan:
            return self.next_item is None
        return self.spec.sync_mode is SyncMode.PER_CYCLE and self.ended_turns >= (self.spec.max_cycles or 1_000)

    def renew_budget(self) -> None:
        """Give the next cycle or item its time."""
        item = self.item_of(self.next_item)
        if item is not None:
            self.budget = TickingClock(SUDDEN_DEATH, item.ticks)
        elif self.spec.sync_mode is SyncMode.PER_CYCLE:
            self.budget = TickingClock(SUDDEN_DEATH, in_ticks(self.spec.time_per_cycle_ms or 0))

    def end_turn_and_go_on(self, name: str | None, item: str | None, holds: bool) -> None:
        """End the turn by a switch, and begin the turn of the participant `name` or of the item `item`."""
        at_zero = self.is_at_zero
        left = self.left
        is_flagged = at_zero or (self.overtime and left is not None and left <= 0)
        before = self.ending_turn()
        self.count_turn(replenishes=True, is_flagged=is_flagged)
        self.choose_item(item)
        following = self._next_seat(name)
        if self.was_last_cycle():
            self.end(Status.COMPLETED, by_time=False, ended_in=before)
            return
        self._extend(is_flagged)
        self.renew_budget()
        if holds:
            self.hold(following)
            return
        self.begin_turn(following)
        if at_zero:
            self.lift_zero()

    def lift_zero(self) -> None:
        """End the pause at zero if the clock has time."""
        left = self.left
        if left is None or left > 0:
            self.pauses = [each for each in self.pauses if each.name != "timeout"]
            self.status = Status.PAUSED if self.pauses else Status.RUNNING

    def _next_seat(self, name: str | None) -> str | None:
        if self.names_owners:
            if name is not None:
                raise RefusedError
            return None if self.next_item is None else self.owner_of_next_item()
        if name is not None:
            seat = self.seat(name)
            if seat is None or not self.can_get_turns(seat):
                raise RefusedError
            return name
        following = self.following(self.active)
        if following is None and self.seats:
            raise RefusedError
        return following

    next_seat = _next_seat

    def _extend(self, is_flagged: bool) -> None:
        """Extend a low budget at a switch."""
        spec, (count, added) = self.spec, self.extensions
        if spec.extend_on_switch_ms is None or is_flagged or (self.budget is None and self.ends is None):
            return
        step = in_ticks(spec.extend_on_switch_ms)
        window = step if spec.extend_window_ms is None else in_ticks(spec.extend_window_ms)
        left = self.ends - self.now if self.ends is not None else self.budget.left if self.budget is not None else 0
        if left > window or (spec.max_extensions is not None and count >= spec.max_extensions):
            return
        more = step if spec.extend_by is ExtendBy.ADD else step - left
        if spec.max_extension_ms is not None:
            more = min(more, in_ticks(spec.max_extension_ms) - added)
        if more <= 0:
            return
        self.extensions = count + 1, added + more
        if self.ends is not None:
            self.ends += more
        elif self.budget is not None:
            self.budget.left += more

    def ending_turn(self) -> EndedIn:
        """Return the turn as it is now."""
        turns = self.ended_turns
        return EndedIn(self.active, self.turn_used, turns, self.is_held, self.next_item, counted=False, by_time=False)

    def end(self, status: Status, *, by_time: bool, ended_in: EndedIn | None = None) -> None:
        """End the session. `ended_in` is the turn before its end was counted, None if it was not counted."""
        ending = ended_in or self.ending_turn()
        ending.counted, ending.by_time = ended_in is not None, by_time
        self.finish_item()
        self.status, self.active, self.next_item = status, None, None
        self.pauses, self.ended_in = [], ending
