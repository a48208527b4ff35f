"""Views of one participant: patches between views are limited patches between documents."""

import itertools
import random
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.clock import creation, engine
from synckairos.clock.commands import (
    AddParticipant,
    Command,
    Create,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.merge_patch import merge_patch
from synckairos.clock.model import SyncMode
from synckairos.wire.document_merge_patch import key_lists_by_id, lists_from_keyed, make_keyed_patch
from synckairos.wire.document_split import DocumentParts
from synckairos.wire.participant_view import (
    MEMBERS_OF_ROW,
    NO_PARTICIPANT,
    has_row,
    limit_patch,
    render_participant_view,
)
from synckairos.wire.session_json import render_session
from tests.unit.clock.histories import Bytes
from tests.unit.clock.individual_histories import NAMES, draw_individual_creation, individual_commands
from tests.unit.clock.script import T0

PEOPLE = tuple(f"01980000-0000-7000-8000-{number:012}" for number in range(4))
NEWCOMER = "01980000-0000-7000-8000-000000000004"
COMMANDS: tuple[Command, ...] = (
    Start(),
    Switch(),
    Switch(),
    Pause(),
    UpdateMetadata({"a": {'{"participant_id":': '],"groups":['}}),
    AddParticipant(NewParticipant(NEWCOMER, total_time_ms=5_000)),
    Resume(),
    Switch(),
    RemoveParticipant(PEOPLE[3]),
    Switch(),
)


def documents(mode: SyncMode, commands: tuple[Command, ...]) -> list[bytes]:
    """Return the documents of a session after its creation and after each command, one second apart."""
    total_ms = 60_000 if mode is not SyncMode.PER_CYCLE else None
    people = tuple(NewParticipant(each, total_time_ms=total_ms) for each in PEOPLE)
    state = creation.create(Create(mode, people), str(uuid4()), "e", 0).state
    found = [render_session(state)]
    for at, command in enumerate(commands, 1):
        decision = engine.apply(state, command, 1_000 * at)
        assert decision.refusal is None, (command, decision.refusal)
        for transition in decision.all_transitions:
            state = transition.state
            found.append(render_session(state))
    return found


def keyed(document: bytes) -> dict[str, Any]:
    return key_lists_by_id(orjson.loads(document))


def whole(state: dict[str, Any]) -> dict[str, Any]:
    """Return a keyed state as a document, with null for the members that a patch removed."""
    return lists_from_keyed(state)


def test_a_view_has_one_row_and_all_other_members_of_the_session() -> None:
    for document in documents(SyncMode.PER_PARTICIPANT, COMMANDS):
        members = orjson.loads(document)
        rows = {each["participant_id"]: each for each in members["participants"]}
        for participant_id in (*PEOPLE, NEWCOMER, NO_PARTICIPANT):
            row = [rows[participant_id]] if participant_id in rows else []
            view = render_participant_view(document, participant_id)
            assert orjson.loads(view) == members | {"participants": row, "groups": []}
            assert has_row(document, participant_id) == bool(row)
            DocumentParts.parse(view)


@pytest.mark.parametrize("participant_id", [*PEOPLE, NEWCOMER, NO_PARTICIPANT])
def test_limited_patches_lead_from_view_to_view(participant_id: str) -> None:
    found = documents(SyncMode.PER_PARTICIPANT, COMMANDS)
    for at, before in enumerate(found):
        for after in found[at:]:
            patch = make_keyed_patch(keyed(before), keyed(after))
            assert patch is not None
            copy = orjson.dumps(patch)
            limited = limit_patch(patch, participant_id, after)
            result = merge_patch(keyed(render_participant_view(before, participant_id)), limited)
            assert whole(result) == whole(keyed(render_participant_view(after, participant_id)))
            assert orjson.dumps(patch) == copy


def individual_documents(seed: int) -> list[bytes]:
    """Return the documents of a random history in `individual`."""
    tape = Bytes(random.Random(seed).randbytes(64))
    state = creation.create(draw_individual_creation(tape), str(uuid4()), "e", T0).state
    found, now_ms = [render_session(state)], T0
    for wait_ms, command in individual_commands(tape, 10):
        now_ms = max(now_ms + wait_ms, state.updated_at_ms)
        for transition in engine.apply(state, command, now_ms).all_transitions:
            state = transition.state
            found.append(render_session(state))
        if state.deleted:
            break
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_view_in_individual_shows_nothing_about_other_rows(seed: int) -> None:
    found = individual_documents(seed)
    for participant_id in (*NAMES, NO_PARTICIPANT):
        views = [keyed(render_participant_view(document, participant_id)) for document in found]
        for document, view in zip(found, views, strict=True):
            members = orjson.loads(document)
            rows = {each["participant_id"]: each for each in members["participants"]}
            row: dict[str, Any] = rows.get(participant_id, {})
            own = {name: row.get(name, unset) for name, unset in MEMBERS_OF_ROW.items()}
            expected = members | {"participants": [row] if row else [], "groups": []} | own
            assert whole(view) == whole(key_lists_by_id(expected))
            # Another budget of the others does not change the view.
            for each in members["participants"]:
                if each is not row:
                    each |= {"total_time_ms": 1, "time_used_ms": 1, "time_remaining_ms": 1, "deadline_at": "x"}
            changed = orjson.dumps(members | dict.fromkeys(MEMBERS_OF_ROW, 7))
            assert keyed(render_participant_view(changed, participant_id)) == view
        for before, after in itertools.pairwise(range(len(found))):
            patch = make_keyed_patch(keyed(found[before]), keyed(found[after]))
            if patch is not None:
                limited = limit_patch(patch, participant_id, found[after])
                assert whole(merge_patch(views[before], limited)) == whole(views[after])
