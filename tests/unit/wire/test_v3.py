"""The messages of `synckairos.v3`: a position has three parts, a state says its own, a PING comes back."""

from typing import Any

import orjson
import pytest

from synckairos.errors import ValidationFailed
from synckairos.wire import v3_messages
from synckairos.wire.websocket_frames import text_payload

SESSION = "0198c0de-0000-7000-8000-000000000001"
PLACE = {"epoch": "e", "version": 7}


def subscribe(**members: Any) -> v3_messages.Subscribe:
    asked = v3_messages.parse_v3_message(orjson.dumps({"type": "SUBSCRIBE", "session_id": SESSION, **members}).decode())
    assert isinstance(asked, v3_messages.Subscribe)
    return asked


@pytest.mark.parametrize("tag", ["a", "08d7f2e6519bca34", "x" * 64, 'any "text", ü'])
def test_a_tag_is_any_short_text(tag: str) -> None:
    assert subscribe(**PLACE, tag=tag).tag == tag


@pytest.mark.parametrize("tag", ["", "x" * 65, None, 7, True, ["a"], {"a": 1}])
def test_what_is_no_tag_is_said(tag: object) -> None:
    with pytest.raises(ValidationFailed) as refused:
        subscribe(**PLACE, tag=tag)
    assert [fault["path"] for fault in refused.value.details] == ["tag"]


@pytest.mark.parametrize(
    ("members", "has_position"),
    [({}, False), (PLACE, True), ({"version": 7}, True), ({"epoch": "e"}, True), ({"tag": "a"}, True)],
)
def test_any_part_of_a_position_wants_to_know_whether_it_did(members: dict[str, Any], has_position: bool) -> None:
    assert subscribe(**members).has_position is has_position


def test_a_state_says_its_tag_where_it_has_one() -> None:
    for tag, said in (("a", {"tag": "a"}), ("", {})):
        whole = orjson.loads(text_payload(v3_messages.state_frame("STATE_UPDATE", SESSION, "e", tag, 7, 1, b"{}")))
        delta = orjson.loads(text_payload(v3_messages.state_delta_frame(SESSION, "e", tag, 6, 7, 1, b'{"a":1}')))
        told = {"session_id": SESSION, "version": 7, "server_time_ms": 1, "epoch": "e", **said}
        assert whole == {"type": "STATE_UPDATE", **told, "state": {}}
        assert delta == {"type": "STATE_DELTA", **told, "from_version": 6, "patch": {"a": 1}}


@pytest.mark.parametrize("t0", [0, 1795345670696, -5, 12.5])
def test_a_ping_comes_back_as_it_was(t0: float) -> None:
    asked = v3_messages.parse_v3_message(orjson.dumps({"type": "PING", "t0": t0}).decode())
    assert isinstance(asked, v3_messages.Ping)
    assert orjson.dumps(asked.t0) == orjson.dumps(t0)


@pytest.mark.parametrize("t0", ["1", None, True, [1]])
def test_a_ping_without_a_number_is_told_so_once(t0: object) -> None:
    with pytest.raises(ValidationFailed) as refused:
        v3_messages.parse_v3_message(orjson.dumps({"type": "PING", "t0": t0}).decode())
    assert refused.value.details == [{"path": "t0", "message": "should be a valid number"}]
