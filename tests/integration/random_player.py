"""Random sessions, played through the real service and the real stores with a clock that the test sets."""

import random
from typing import Any
from uuid import UUID

from synckairos.errors import SyncKairosError
from synckairos.frozen_replace import replace
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.service.sessions import Sessions
from synckairos.store.rate_meter import RateMeter
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import SessionLoadResult
from synckairos.wire.body_parser import parse_audited_args, parse_body, parse_command
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.instants import render_instant
from synckairos.wire.snapshot import SessionSnapshot

T0 = 1_800_000_000_000

CLOCKS: list[dict[str, Any]] = [
    {"sudden_death": {}},
    {"fischer": {"increment_ms": 700, "cap_ms": 9_000}},
    {"bronstein": {"delay_ms": 900}},
    {"delay": {"delay_ms": 900}},
    {"byoyomi": {"periods": 2, "period_ms": 1_500, "increment_ms": 300}},
    {"canadian": {"moves": 1, "period_ms": 3_000, "moves_step": 1, "moves_max": 2}},
    {"per_move": {"move_ms": 2_500}},
    {"hourglass": {}},
    {"stages": [{"moves": 2, "add_ms": 4_000, "delay_ms": 100}, {"at_zero": True, "add_ms": 2_000}, {"add_ms": 2_000}]},
]


class StoreWithSetTime(SessionStore):
    """The session store with `at_ms` in place of Redis TIME."""

    at_ms = T0

    async def now_ms(self, session_name: str | None = None) -> int:
        return self.at_ms

    async def load(
        self,
        session_id: str,
        command_id: str | None = None,
        meter: RateMeter | None = None,
        held: SessionSnapshot | None = None,
    ) -> SessionLoadResult:
        return replace(await super().load(session_id, command_id, meter, held), now_ms=self.at_ms)


class RandomPlayer:
    """Player of one session. The seed decides its commands."""

    def __init__(self, sessions: Sessions, store: StoreWithSetTime, seed: int) -> None:
        self._sessions = sessions
        self._store = store
        self._random = random.Random(seed)
        self._participant_ids = [self._uuid() for _ in range(6)]
        self._groups = [self._uuid() for _ in range(2)]
        self.session_id = self._uuid()
        self.outcomes: set[str] = set()

    async def play(self, commands: int) -> None:
        """Create the session and send `commands` commands, with random pauses between them."""
        pick = self._random
        self._store.at_ms = T0 + pick.randrange(1_000_000)
        await self.create()
        if pick.random() < 0.3:
            await self.send("update_session", {"starts_at": self._instant(900)})
            self._store.at_ms += pick.choice((0, 899, 900, 2_000))
        await self.send("start", {})
        for at in range(commands):
            self._store.at_ms += pick.choice((0, 0, 1, 300, 499, 500, 1_500, 2_500, 6_000))
            await self.send(*self._command(), command_id=f"{at}" if pick.random() < 0.2 else None)
        if pick.random() < 0.3:
            await self.send("delete", {})
            self._store.at_ms += 1
            await self.create()

    async def create(self, body: dict[str, Any] | None = None) -> None:
        """Create the session with `body`, or with a random one."""
        body = body or self._body()
        model = parse_body(CreateSession, body)
        args = model.model_dump(exclude_unset=True)
        await self._sessions.create(
            CreateRequest(Principal.anonymous_admin(), model.to_create(), self.session_id, args)
        )

    async def send(self, verb: str, args: dict[str, Any], command_id: str | None = None) -> None:
        """Send a command. Append its verb, or the code of its refusal, to `outcomes`."""
        body = parse_command(verb, args) if verb in ("reopen", "amend", "undo") else parse_audited_args(verb, args)
        sent = body.model_dump(exclude_unset=True) or None
        request = CommandRequest(
            Principal.anonymous_admin(),
            self.session_id,
            body.to_command(),
            verb,
            sent,
            command_id=command_id,
            fingerprint=verb,
        )
        try:
            await self._sessions.execute(request)
            self.outcomes.add(verb)
        except SyncKairosError as refusal:
            self.outcomes.add(refusal.code)

    def _body(self) -> dict[str, Any]:
        pick = self._random
        mode = pick.choice(("per_participant", "per_participant", "per_group", "per_cycle", "global", "count_up"))
        has_budgets = mode in ("per_participant", "per_group")
        clock = pick.choice(CLOCKS[: 9 if mode == "per_participant" else 7]) if has_budgets else None
        count = 2 if clock == {"hourglass": {}} else pick.randint(1 if mode == "count_up" else 2, 4)
        body: dict[str, Any] = {
            "session_id": self.session_id,
            "sync_mode": mode,
            "participants": [
                self._new_participant(mode, participant_id) for participant_id in self._participant_ids[:count]
            ],
            "warnings_ms": pick.choice(([], [3_000, 1_000])),
            "metadata": {"z": 1, "a": [1.5, "ü\u2028", {"z": None, "b": {}}], "10": 1e-7},
        }
        if mode in ("global", "per_cycle"):
            body["total_time_ms" if mode == "global" else "time_per_cycle_ms"] = pick.randint(4_000, 15_000)
        if mode == "count_up" and pick.random() < 0.5:
            body["max_time_ms"] = 15_000
        if mode == "per_participant" and clock != {"hourglass": {}} and pick.random() < 0.5:
            body["lag_compensation"] = True
        if mode == "per_participant" and clock != {"hourglass": {}} and pick.random() < 0.2:
            body["free_first_turn"] = {"limit_ms": 4_000}
        timeouts = ["expire", "pause", "overtime", *(["advance"] * 3 if has_budgets or mode == "per_cycle" else [])]
        if pick.random() < 0.7:
            body["on_timeout"] = pick.choice(timeouts)
        if body.get("on_timeout") == "overtime" and pick.random() < 0.5:
            body["warnings_ms"] = [1_000, 0, -1_000]
        if pick.random() < 0.3:
            body["between_turns"] = "hold"
        if pick.random() < 0.3:
            body["switch_while_paused"] = True
        if pick.random() < 0.3:
            body["close_when_all_done"] = True
        if mode == "global" and pick.random() < 0.5:
            body |= {
                "extend_on_switch_ms": 2_000,
                "extend_by": pick.choice(("add", "reset")),
                "max_extension_ms": 5_000,
            }
        if mode == "global" and body.get("on_timeout") != "pause" and pick.random() < 0.5:
            del body["total_time_ms"]
            body["ends_at"] = self._instant(pick.randint(4_000, 15_000))
        if mode == "per_cycle" and pick.random() < 0.6:
            del body["time_per_cycle_ms"]
            body["plan"] = self._plan(self._participant_ids[: pick.choice((0, count))])
        if pick.random() < 0.3:
            body["starts_at"] = self._instant(pick.randint(0, 2_000))
        return body if clock is None else body | {"clock": clock}

    def _plan(self, named: list[str], kept: int = 4) -> list[dict[str, Any]]:
        """Return a plan of four items, of which the last do not have to be kept. Some items name one of `named`."""
        pick, items = self._random, []
        for at in range(kept):
            item: dict[str, Any] = {"item_id": f"ä {at}", "title": f'"{at}",', "time_ms": 4_000 - 500 * at}
            if named and at != 1:
                item["participant_id"] = named[at % len(named)]
            items.append(item)
        if kept < 4:
            items.append({"time_ms": pick.randint(1_000, 5_000), "warnings_ms": [500]})
        return items

    def _instant(self, after_ms: int) -> str:
        return render_instant(self._store.at_ms + after_ms)

    def _new_participant(self, mode: str, participant_id: str) -> dict[str, Any]:
        participant: dict[str, Any] = {"participant_id": participant_id}
        if mode in ("per_participant", "per_group"):
            participant["total_time_ms"] = self._random.randint(2_000, 9_000)
        if mode == "per_group":
            participant["group_id"] = self._groups[self._participant_ids.index(participant_id) % 2]
        return participant

    def _command(self) -> tuple[str, dict[str, Any]]:
        pick = self._random
        participant_id = pick.choice(self._participant_ids)
        match pick.randrange(39):
            case 33 | 34:
                times: dict[str, Any] = pick.choice(
                    ({}, {"started_at": self._instant(-9_000)}, {"completed_at": self._instant(-500)})
                )
                return "amend", times or {"breaks": [], "started_at": self._instant(-20_000)}
            case 0:
                return "switch", {"next_participant_id": participant_id}
            case 1:
                return "switch", {"current_participant_id": participant_id, "hold": pick.random() < 0.5}
            case 2 | 3:
                return "pause", {"reason": pick.choice(("rain", "ä b")), "max_ms": pick.choice((1, 700, 5_000))}
            case 4:
                return "pause", {}
            case 5 | 6:
                return "resume", {}
            case 7:
                return "resume", {"reason": "rain"}
            case 8:
                return "adjust", {"delta_ms": pick.choice((-1_500, 4_000))}
            case 9:
                return "adjust", {"delta_ms": 5_000, "participant_ids": [participant_id]}
            case 10:
                return "adjust", {"delta_ms": -800, "group_id": pick.choice(self._groups)}
            case 11:
                return "add_participant", self._new_participant("per_group", participant_id) | {"display_name": "Ä"}
            case 12:
                return "remove_participant", {"participant_id": participant_id}
            case 13 | 14:
                return "update_metadata", {"metadata": {"y": pick.random(), "b": {"d": 1, "c": None}, "z": None}}
            case 15 if pick.random() < 0.4:
                return pick.choice(("complete", "complete", "cancel")), {}
            case 35 | 36:
                return "undo", {"turns": pick.choice((1, 1, 2)), "charge": pick.choice(("nobody", "mover", "resumed"))}
            case 18:
                changes: dict[str, Any] = pick.choice(
                    ({"display_name": "Ü"}, {"display_name": None}, {"total_time_ms": pick.randint(1_000, 9_000)})
                )
                if pick.random() < 0.3:
                    changes = {"total_time_ms": 8_000, "clock": pick.choice(CLOCKS)}
                return "update_participant", {"participant_id": participant_id} | changes
            case 28 | 29:
                return "done", {"participant_id": participant_id}
            case 26 | 27:
                return "reopen", pick.choice(
                    ({}, {"delta_ms": 4_000}, {"delta_ms": 4_000, "reason": "flag by mistake"})
                )
            case 24 | 25:
                starts_at: dict[str, Any] = pick.choice(({}, {"starts_at": None}, {"starts_at": self._instant(900)}))
                return "update_session", starts_at or {"ends_at": self._instant(pick.randint(1, 9_000))}
            case 37:
                return "announce", pick.choice(({"text": None}, {"text": "é", "flash": True, "tone": "urgent"}))
            case 38:
                return "screen", {"mode": pick.choice(("normal", "focus", "blackout"))}
            case 30:
                return "switch", {"item_id": f"ä {pick.randrange(5)}"}
            case 31 | 32:
                return "set_plan", {"plan": self._plan([], pick.choice((2, 3)))}
            case 16 | 17:
                measured: dict[str, Any] = pick.choice(({}, {"measured_lag_ms": 300}))
                return "switch", {"lag_ms": pick.choice((20, 400, 5_000))} | measured
            case _:
                return "switch", {}

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))
