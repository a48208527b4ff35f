"""The table of access rules: nothing is without a rule, and each rule is in use."""

import ast
from pathlib import Path

import pytest

import synckairos
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.v3_messages import CLIENT_MESSAGES

MESSAGE_RULES = {
    "SUBSCRIBE": "subscribe",
    "UNSUBSCRIBE": "unsubscribe",
    "PING": "ping",
    "AUTH": "authenticate",
    "REFRESH": "authenticate",
}
"""Rules of socket messages. A COMMAND has the rule of its command."""


async def respond(request: RestRequest) -> RestResponse:
    return RestResponse()


def test_operation_without_a_rule_is_refused() -> None:
    with pytest.raises(KeyError, match="no_such_rule"):
        Operation("GET", "/x", "no_such_rule", respond, "", "")


def test_each_socket_message_and_command_has_a_rule() -> None:
    assert CLIENT_MESSAGES.keys() - {"COMMAND"} == MESSAGE_RULES.keys()
    assert set(MESSAGE_RULES.values()) <= ACCESS_RULES.keys()
    assert {verb: ACCESS_RULES[verb].scope for verb in COMMAND_BODIES} == dict.fromkeys(COMMAND_BODIES, "session")


def test_each_rule_is_named_in_the_code() -> None:
    named = {
        node.value
        for path in Path(synckairos.__file__).parent.rglob("*.py")
        if path.name != "access_rules.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert ACCESS_RULES.keys() - named - {"connect", *MESSAGE_RULES.values(), "read_archive_events"} == set()
