"""Random sessions with individual clocks, played like those of `random_player.py`."""

from typing import Any

from tests.integration.random_player import RandomPlayer

Json = dict[str, Any]


class RandomIndividualPlayer(RandomPlayer):
    """Player of one session in `individual`. The seed decides its commands."""

    def _body(self) -> Json:
        pick = self._random
        has_end = pick.random() < 0.4
        body: Json = {
            "session_id": self.session_id,
            "sync_mode": "individual",
            "participants": [self._candidate(each, has_end) for each in self._participant_ids[: pick.randint(2, 4)]],
            "warnings_ms": pick.choice(([], [3_000, 1_000])),
            "on_timeout": pick.choice(("expire", "expire", "overtime")),
            "metadata": {"room": "ü"},
        }
        if body["on_timeout"] == "overtime" and pick.random() < 0.5:
            body["warnings_ms"] = [1_000, 0, -1_000]
        if has_end:
            body["ends_at"] = self._instant(pick.randint(4_000, 15_000))
        if pick.random() < 0.3:
            body["starts_at"] = self._instant(pick.randint(0, 2_000))
        if pick.random() < 0.3:
            body["pause_budget"] = 3
        return body

    def _candidate(self, participant_id: str, has_end: bool) -> Json:
        candidate: Json = {"participant_id": participant_id}
        if not has_end:
            candidate["total_time_ms"] = self._random.randint(2_000, 9_000)
        if self._random.random() < 0.5:
            candidate["time_factor"] = self._random.choice((1, 1.25, 1.33, 2))
        if self._random.random() < 0.5:
            candidate["group_id"] = self._groups[self._participant_ids.index(participant_id) % 2]
        return candidate

    def _targets(self) -> Json:
        pick = self._random
        match pick.randrange(4):
            case 0:
                return {"participant_ids": [pick.choice(self._participant_ids[:4])]}
            case 1:
                return {"group_id": pick.choice(self._groups)}
            case _:
                return {}

    def _command(self) -> tuple[str, Json]:
        pick = self._random
        participant_id = pick.choice(self._participant_ids[:5])
        match pick.randrange(26):
            case 0 | 1 | 2:
                return "start", self._targets()
            case 3 | 4 | 5:
                return "pause", {"reason": pick.choice(("tea", "rain"))} | self._targets()
            case 6:
                return "pause", {"max_ms": pick.choice((500, 3_000))} | self._targets()
            case 7 | 8 | 9:
                return "resume", pick.choice(({}, {"reason": "tea"})) | self._targets()
            case 10:
                return "finish", self._targets()
            case 11 | 12:
                scaled: Json = pick.choice(({}, {"scaled": True}))
                return "adjust", {"delta_ms": pick.choice((-1_500, 4_001))} | scaled | self._targets()
            case 13:
                return "add_participant", self._candidate(participant_id, pick.random() < 0.5)
            case 14:
                return "remove_participant", {"participant_id": participant_id}
            case 15 | 16:
                named: Json = pick.choice(({}, {"participant_ids": [participant_id]}))
                return "reopen", {"delta_ms": 4_000, "reason": "by mistake"} | named
            case 17:
                return "update_session", {"ends_at": self._instant(pick.randint(1, 9_000))}
            case 24 | 25:
                changed: Json = pick.choice(({"display_name": "Ü"}, {"total_time_ms": pick.randint(1_000, 9_000)}))
                return "update_participant", {"participant_id": participant_id} | changed
            case 21:
                return "announce", {"text": pick.choice((None, "Ü"))}
            case 22:
                return "screen", {"mode": pick.choice(("normal", "standby"))}
            case 18:
                return "update_metadata", {"metadata": {"y": pick.random()}}
            case 19 if pick.random() < 0.3:
                return pick.choice(("complete", "cancel")), {}
            case 20:
                return pick.choice((("switch", {}), ("done", {"participant_id": participant_id}), ("undo", {})))
            case _:
                return "update_metadata", {"metadata": {}}
