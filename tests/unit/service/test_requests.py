"""Requests to the service: how a parsed command becomes a request, and which stored fingerprints match a request."""

from typing import Any

import pytest

from synckairos.clock.commands import VersionPrecondition
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, command_fingerprint
from synckairos.wire.body_parser import parse_command
from synckairos.wire.command_bodies.table import COMMAND_BODIES

SESSION = "01980000-0000-7000-8000-000000000001"
PARTICIPANT = "01980000-0000-7000-8000-000000000002"


def request(verb: str, given: dict[str, Any], **more: Any) -> CommandRequest:
    body = parse_command(verb, given)
    return CommandRequest.for_command(
        Principal.anonymous_admin(), SESSION, verb, body, given, **({"command_id": "k"} | more)
    )


# For each command: the fingerprint that the last commit of the first edition, 72a91a8, stored.
FIRST_EDITION: list[tuple[str, dict[str, Any], str]] = [
    ("start", {}, "1deede8d1c7d8214daab1ada7e7ca940"),
    ("switch", {"expected_version": 3, "next_participant_id": PARTICIPANT}, "83cbc2c31032f3cb22fe1521fea9a725"),
    ("pause", {"reason": "tea"}, "9813c9ef5493569d01d33e351b5ff4c3"),
    ("resume", {}, "880d69093302ac4f500096359033e344"),
    ("adjust", {"delta_ms": 1000}, "a263d48daa0644e687f82cdc4a4ca095"),
    ("complete", {}, "ea7e84ad20b744a69ba48a3098a31092"),
    ("cancel", {}, "4ec3f2f7afeca80920918e1ebdc87bd0"),
    ("add_participant", {"participant_id": PARTICIPANT, "participant_index": 2}, "364f29ea692c5162d0789463c6667519"),
    ("remove_participant", {"participant_id": PARTICIPANT}, "4b1ec1fc7a5fa2c403a6e5fbfa6c161f"),
    ("update_metadata", {"metadata": {"b": 1, "a": [None]}}, "16ef96d9a60d649f7e1d5f9b42ba087b"),
    ("delete", {}, "368080b10d017e1f807cf62612177e25"),
]


@pytest.mark.parametrize(("verb", "given", "stored"), FIRST_EDITION)
def test_a_fingerprint_of_the_first_edition_matches_the_same_command_only(
    verb: str, given: dict[str, Any], stored: str
) -> None:
    assert request(verb, given).fingerprint == stored, "an instance of the previous release could not replay it"
    assert request(verb, given).matches_fingerprint(stored)
    assert not request(verb, given | {"expected_version": 9}).matches_fingerprint(stored)
    assert not request("pause", {"reason": "another"}).matches_fingerprint(stored)


def test_the_list_of_first_edition_fingerprints_has_every_command() -> None:
    later = {"update_session", "set_plan", "undo", "reopen", "done", "amend", "finish", "update_participant"}
    later |= {"announce", "screen"}
    assert [verb for verb, _, _ in FIRST_EDITION] == [verb for verb in COMMAND_BODIES if verb not in later]


def test_a_fingerprint_depends_on_verb_session_and_arguments_but_not_on_their_order() -> None:
    given = {"expected_version": 3, "next_participant_id": PARTICIPANT}
    same = command_fingerprint("switch", SESSION, dict(reversed(given.items())))
    others = [
        command_fingerprint("pause", SESSION, given),
        command_fingerprint("switch", PARTICIPANT, given),
        command_fingerprint("switch", SESSION, given | {"expected_version": 4}),
    ]
    assert request("switch", given).matches_fingerprint(same), "the form of the next release is accepted already"
    assert not any(map(request("switch", given).matches_fingerprint, others))


def test_a_request_without_a_command_id_has_no_fingerprint() -> None:
    assert request("start", {}, command_id=None).fingerprint == ""


def test_the_arguments_for_the_audit_omit_absent_members_and_the_expected_version() -> None:
    assert request("start", {"expected_version": 3}).args is None
    assert request("pause", {"reason": "tea", "expected_version": 3}).args == {"reason": "tea"}


def test_a_precondition_needs_an_expected_version_or_an_etag() -> None:
    assert request("start", {}).precondition is None
    assert request("start", {"expected_version": 3}).precondition == VersionPrecondition(3)
    assert request("start", {}, etags=((3, "e"),)).precondition == VersionPrecondition(None, ((3, "e"),))
