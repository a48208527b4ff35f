"""Commands of callers with the role `participant`, and commands with `on_behalf_of`, over REST."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.audit.entry_rows import parse_entry
from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.frozen_replace import replace
from synckairos.wire.outbox_entry import OutboxEntry
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import RestServer, open_rest_server, session_url

REFEREE = as_caller("referee", "controller")
PRESS_17 = {"idempotency-key": "press-17"}
STRANGER_ID = str(uuid4())

OK = (200, None)
FORBIDDEN = (403, "FORBIDDEN")
NOT_ACTIVE = (409, "NOT_ACTIVE_PARTICIPANT")
NOT_FOUND = (404, "PARTICIPANT_NOT_FOUND")
WRONG_STATE = (400, "INVALID_STATE_TRANSITION")


@dataclass(frozen=True, slots=True)
class Game:
    """A started session of two participants. `white` has the turn."""

    server: RestServer
    session: dict[str, Any]

    @property
    def white(self) -> str:
        return str(self.session["participants"][0]["participant_id"])

    @property
    def black(self) -> str:
        return str(self.session["participants"][1]["participant_id"])

    async def send(self, verb: str, caller: dict[str, str], **body: Any) -> httpx.Response:
        return await self.server.client.post(session_url(self.session, verb), json=body, headers=caller)

    async def result(self, verb: str, caller: dict[str, str], **body: Any) -> tuple[int, str | None]:
        """Send a command. Return the status of the answer, and the code of an error."""
        answer = await self.send(verb, caller, **body)
        return answer.status_code, None if answer.is_success else answer.json()["error"]["code"]

    async def read(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.server.client.get(session_url(self.session))).json()["data"]
        return found

    async def newest_entry(self) -> dict[str, Any]:
        """Return the event of the newest version in the outbox."""
        entries: list[OutboxEntry] = await self.server.outbox.read_session_entries(self.session["session_id"])
        found: dict[str, Any] = orjson.loads(entries[-1].event)
        return found


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


async def start_game(server: RestServer, **fields: Any) -> Game:
    return Game(server, await server.create_started(**fields))


def as_participant(participant_id: str, subject: str = "phone") -> dict[str, str]:
    return as_caller(subject, "participant", participant_id=participant_id)


# -- a participant as itself ------------------------------------------------------------------------------------------


async def test_plain_switch_of_a_participant_ends_only_its_own_turn(server: RestServer) -> None:
    game = await start_game(server)
    white, black = as_participant(game.white), as_participant(game.black)
    assert await game.result("switch", black) == NOT_ACTIVE
    assert await game.result("switch", white) == OK
    assert await game.result("switch", white) == NOT_ACTIVE
    assert await game.result("switch", black, current_participant_id=game.black.upper()) == OK
    assert (await game.newest_entry())["args"] == {"current_participant_id": game.black}


async def test_late_switch_of_a_participant_does_not_end_the_turn_of_the_next(server: RestServer) -> None:
    game = await start_game(server)
    assert await game.result("switch", REFEREE) == OK
    assert await game.result("switch", as_participant(game.white)) == NOT_ACTIVE
    assert (await game.read())["active_participant_id"] == game.black


async def test_participant_that_names_another_or_the_next_is_forbidden(server: RestServer) -> None:
    game = await start_game(server)
    white, black = as_participant(game.white), as_participant(game.black)
    assert await game.result("switch", black, current_participant_id=game.white) == FORBIDDEN
    assert await game.result("switch", white, next_participant_id=game.black) == FORBIDDEN
    assert await game.result("pause", white, on_behalf_of=game.black) == FORBIDDEN
    assert await game.result("pause", white, on_behalf_of=game.white) == OK


async def test_participant_marks_only_itself_as_done(server: RestServer) -> None:
    game = await start_game(server, close_when_all_done=True)
    white, black = as_participant(game.white), as_participant(game.black)
    assert await game.result("done", white, participant_id=game.black) == FORBIDDEN
    assert await game.result("done", REFEREE, participant_id=game.black, on_behalf_of=game.white) == FORBIDDEN
    assert await game.result("done", black, participant_id=game.black.upper()) == OK
    done, turn = await game.read(), "done_turn"
    assert [each.get(turn) for each in done["participants"]] == [None, 1]
    assert await game.result("done", REFEREE, participant_id=game.white, on_behalf_of=game.white, expected_turn=1) == OK
    ended = await game.read()
    assert (ended["version"], ended["turn_number"], ended["active_participant_id"]) == (
        done["version"] + 2,
        2,
        game.black,
    )
    await server.drain()
    trail = (await server.client.get(session_url(game.session, "events"))).json()["data"]
    assert [each["event_type"] for each in trail[-2:]] == ["participant_done", "cycle_switched"]
    assert trail[-1]["occurred_at"] == trail[-2]["occurred_at"]


async def test_participant_without_an_id_or_of_another_session_is_forbidden(server: RestServer) -> None:
    game = await start_game(server)
    for participant_id in (STRANGER_ID, "-"):
        stranger = as_caller("x", "participant", participant_id=participant_id)
        for verb in ("switch", "pause", "resume"):
            assert await game.result(verb, stranger) == FORBIDDEN


async def test_bare_resume_of_a_participant_ends_only_its_own_pauses(server: RestServer) -> None:
    game = await start_game(server)
    white, black = as_participant(game.white), as_participant(game.black)
    assert await game.result("resume", white) == WRONG_STATE
    assert await game.result("pause", REFEREE, reason="rain") == OK
    assert await game.result("resume", white) == FORBIDDEN
    assert await game.result("resume", white, reason="rain") == FORBIDDEN
    for reason in ("tea", "phone"):
        assert await game.result("pause", white, reason=reason) == OK
    assert await game.result("pause", black, reason="walk") == OK
    assert await game.result("resume", black, reason="tea") == FORBIDDEN
    answer = (await game.send("resume", white)).json()["data"]
    assert [each["reason"] for each in answer["pauses"]] == ["rain", "walk"]
    assert (await game.newest_entry())["args"] == {"taken_by": f"participant:{game.white}"}
    assert await game.result("resume", black, reason="walk") == OK
    assert await game.result("resume", REFEREE) == OK
    assert (await game.read())["status"] == "running"


async def test_pause_belongs_to_the_participant_with_each_of_its_credentials(server: RestServer) -> None:
    game = await start_game(server, pause_budget=2)
    assert await game.result("pause", as_participant(game.white, "phone"), reason="tea") == OK
    assert await game.result("resume", as_participant(game.white, "laptop")) == OK
    assert await game.result("pause", REFEREE, reason="rain", on_behalf_of=game.white) == OK
    assert await game.result("pause", as_participant(game.white, "phone"), reason="late") == WRONG_STATE
    state = await game.read()
    assert state["pauses_taken"] == {f"participant:{game.white}": 2}
    assert [each["paused_by"] for each in state["pauses"]] == [f"participant:{game.white}"]


async def test_claim_of_lag_over_rest_does_not_count_for_a_participant(server: RestServer) -> None:
    game = await start_game(server, lag_compensation=True)
    refereed = (await game.send("switch", REFEREE, lag_ms=100)).json()["data"]["lag_receipt"]
    assert refereed["trusted_lag_ms"] == 100
    own = (await game.send("switch", as_participant(game.black), lag_ms=100)).json()["data"]["lag_receipt"]
    assert own["trusted_lag_ms"] == 0
    assert (await game.newest_entry())["args"] == {"current_participant_id": game.black}
    represented = await game.send("switch", REFEREE, lag_ms=100, on_behalf_of=game.white)
    assert represented.json()["data"]["lag_receipt"]["trusted_lag_ms"] == 0


async def test_forbidden_resumes_leave_the_presses_of_the_session(settings: Settings) -> None:
    async with open_rest_server(
        settings.model_copy(update={"rate_limit_switch": 3}), caller_identity=NamedCallers()
    ) as server:
        game = await start_game(server)
        assert await game.result("pause", REFEREE) == OK
        for _ in range(10):
            assert await game.result("resume", as_participant(game.white)) == FORBIDDEN
        assert await game.result("resume", REFEREE) == OK


async def test_participant_gets_its_replay_only_while_the_command_is_its_own(server: RestServer) -> None:
    game = await start_game(server)
    promoted = as_caller("ann", "controller", participant_id=game.white)
    demoted = as_caller("ann", "participant", participant_id=game.white)
    first = await game.send("switch", promoted | PRESS_17, next_participant_id=game.black)
    assert first.status_code == 200
    assert await game.result("switch", demoted | PRESS_17, next_participant_id=game.black) == FORBIDDEN
    own = await game.send("pause", demoted | {"idempotency-key": "p"}, reason="tea")
    again = await game.send("pause", demoted | {"idempotency-key": "p"}, reason="tea")
    assert (again.content, again.headers["idempotency-replayed"]) == (own.content, "true")


# -- on behalf of a participant ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [REFEREE, as_caller("root"), {}], ids=["controller", "admin", "anonymous"])
async def test_command_on_behalf_of_a_participant_follows_the_rules_of_the_participant(
    server: RestServer, caller: dict[str, str]
) -> None:
    game = await start_game(server)
    assert await game.result("switch", caller, on_behalf_of=game.black) == NOT_ACTIVE
    assert await game.result("switch", caller, on_behalf_of=game.white, current_participant_id=game.black) == FORBIDDEN
    assert await game.result("switch", caller, on_behalf_of=game.white, next_participant_id=game.black) == FORBIDDEN
    assert await game.result("switch", caller, on_behalf_of=STRANGER_ID) == NOT_FOUND
    assert await game.result("adjust", caller, on_behalf_of=game.white, delta_ms=1) == FORBIDDEN
    assert await game.result("complete", caller, on_behalf_of=game.white) == FORBIDDEN
    assert await game.result("switch", caller, on_behalf_of=game.white.upper()) == OK
    assert await game.result("pause", as_participant(game.black), reason="tea") == OK
    assert await game.result("resume", caller, on_behalf_of=game.white) == FORBIDDEN
    assert await game.result("resume", caller, on_behalf_of=game.black) == OK


async def test_viewer_is_forbidden_to_act_on_behalf_of_a_participant(server: RestServer) -> None:
    game = await start_game(server)
    viewer = as_caller("v", "viewer", participant_id=game.white)
    assert await game.result("switch", viewer, on_behalf_of=game.white) == FORBIDDEN
    assert await game.result("switch", viewer, on_behalf_of=STRANGER_ID) == FORBIDDEN


async def test_entry_has_the_role_and_the_represented_participant(server: RestServer) -> None:
    game = await start_game(server)
    anonymous = await game.newest_entry()
    assert {"role", "on_behalf_of"}.isdisjoint(anonymous)
    assert await game.result("switch", REFEREE, on_behalf_of=game.white) == OK
    entry = await game.newest_entry()
    assert [entry[name] for name in ("actor", "role", "on_behalf_of")] == ["user:referee", "controller", game.white]
    assert entry["args"] == {"current_participant_id": game.white}
    assert await game.result("switch", as_participant(game.black)) == OK
    entry = await game.newest_entry()
    assert (entry["actor"], entry["role"]) == ("user:phone", "participant")
    assert "on_behalf_of" not in entry


async def test_represented_participant_is_a_part_of_the_fingerprint(server: RestServer) -> None:
    game = await start_game(server)
    headers = REFEREE | PRESS_17
    first = await game.send("switch", headers, on_behalf_of=game.white)
    again = await game.send("switch", headers, on_behalf_of=game.white)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await game.send("switch", headers)).status_code == 422
    assert (await game.send("switch", headers, on_behalf_of=game.black)).status_code == 422


async def test_header_on_behalf_of_equals_the_member_of_the_body(server: RestServer) -> None:
    game = await start_game(server)
    url = session_url(game.session, "switch")
    headers = REFEREE | PRESS_17
    first = await server.client.post(url, headers=headers | {"on-behalf-of": game.white})
    assert first.status_code == 200
    again = await game.send("switch", headers, on_behalf_of=game.white)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    both = await server.client.post(
        url, headers=REFEREE | {"on-behalf-of": game.black}, json={"on_behalf_of": game.black}
    )
    assert both.status_code == 200
    for header, body in (("nonsense", {}), (game.white, {"on_behalf_of": game.black})):
        refused = await server.client.post(url, headers=REFEREE | {"on-behalf-of": header}, json=body)
        assert (refused.status_code, refused.json()["error"]["details"][0]["path"]) == (400, "On-Behalf-Of")
    removal = session_url(game.session, f"participants/{game.black}")
    refused = await server.client.delete(removal, headers=REFEREE | {"on-behalf-of": game.white})
    assert refused.status_code == 403


async def test_members_of_the_server_have_no_effect_in_a_request(server: RestServer) -> None:
    game = await start_game(server)
    assert await game.result("pause", REFEREE, reason="rain") == OK
    forged = {"taken_by": "user:referee"}
    assert await game.result("resume", as_participant(game.white), **forged) == FORBIDDEN
    answer = await game.send("pause", as_participant(game.white), reason="tea", **forged)
    assert answer.json()["data"]["pauses"][1]["paused_by"] == f"participant:{game.white}"
    assert [each["path"] for each in answer.json()["warnings"]] == ["taken_by"]


# -- the audit --------------------------------------------------------------------------------------------------------


async def test_event_has_the_role_and_the_represented_participant_before_and_after_the_drain(
    server: RestServer,
) -> None:
    game = await start_game(server)
    assert await game.result("switch", REFEREE, on_behalf_of=game.white) == OK
    assert await game.result("pause", as_participant(game.black), reason="tea") == OK
    assert await game.result("resume", as_participant(game.black)) == OK
    events_url = session_url(game.session, "events")
    in_outbox = (await server.client.get(events_url)).json()["data"]
    await server.drain()
    audited = (await server.client.get(events_url)).json()["data"]
    cached = (await server.client.get(events_url)).json()["data"]
    assert in_outbox == audited == cached
    shown = [(each["actor"], each.get("role"), each.get("on_behalf_of")) for each in audited[2:]]
    assert shown == [
        ("user:referee", "controller", game.white),
        ("user:phone", "participant", None),
        ("user:phone", "participant", None),
    ]
    assert all({"role", "on_behalf_of"}.isdisjoint(each) for each in audited[:2])
    for query in ("", "?snapshots=1"):
        table = await server.client.get(events_url + query, headers={"accept": "text/csv"})
        lines = table.text.splitlines()
        assert lines[0].endswith(",role,on_behalf_of,charges,command_id,participant_ids")
        assert f'"controller","{game.white}",' in lines[3]
    async with open_verifier(server.settings.database_url, OutageChargePolicy()) as verifier:
        verified = await verifier.verify_session(game.session["session_id"])
    assert verified is not None
    assert verified.findings == ()


async def test_entry_of_the_release_before_has_neither_role_nor_represented_participant(server: RestServer) -> None:
    game = await start_game(server)
    entry = (await server.outbox.read_session_entries(game.session["session_id"]))[-1]
    row = parse_entry(entry).event
    assert (row.role, row.on_behalf_of) == (None, None)
    with pytest.raises(ValueError, match="UUID"):
        parse_entry(replace(entry, event=orjson.dumps(orjson.loads(entry.event) | {"on_behalf_of": "no id"})))


async def test_participant_changes_only_its_own_individual_clock(server: RestServer) -> None:
    game = await start_game(server, sync_mode="individual", increment_ms=0)
    white, black = as_participant(game.white), as_participant(game.black)
    assert await game.result("finish", white, participant_ids=[game.black]) == FORBIDDEN
    assert await game.result("finish", white, group_id=game.black) == FORBIDDEN
    assert await game.result("pause", white, participant_ids=[game.white, game.black]) == FORBIDDEN
    assert await game.result("start", white) == FORBIDDEN
    assert await game.result("pause", white) == OK
    assert await game.result("resume", black) != OK
    assert [each["status"] for each in (await game.read())["participants"]] == ["paused", "running"]
    assert await game.result("resume", white) == OK
    assert await game.result("finish", REFEREE, on_behalf_of=game.white) == OK
    assert (await game.newest_entry())["args"] == {"participant_ids": [game.white]}
    assert await game.result("finish", black, participant_ids=[game.black.upper()]) == OK
    ended = await game.read()
    assert ended["status"] == "completed"
    assert [each["status"] for each in ended["participants"]] == ["finished", "finished"]
