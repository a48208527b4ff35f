"""Messages of `synckairos.v3`: positions of a SUBSCRIBE, tags of states, and the echo of a PING."""

from typing import Any

import orjson
import pytest

from synckairos.errors import ValidationFailed
from synckairos.wire import v3_messages
from synckairos.wire.websocket_frames import extract_text_payload

SESSION = "0198c0de-0000-7000-8000-000000000001"
POSITION = {"epoch": "e", "version": 7}


def subscribe(**members: Any) -> v3_messages.Subscribe:
    message = v3_messages.parse_v3_message(
        orjson.dumps({"type": "SUBSCRIBE", "session_id": SESSION, **members}).decode()
    )
    assert isinstance(message, v3_messages.Subscribe)
    return message


@pytest.mark.parametrize("tag", ["a", "08d7f2e6519bca34", "x" * 64, 'any "text", ü'])
def test_a_short_text_is_a_valid_tag(tag: str) -> None:
    assert subscribe(**POSITION, tag=tag).tag == tag


@pytest.mark.parametrize("tag", ["", "x" * 65, None, 7, True, ["a"], {"a": 1}])
def test_an_invalid_tag_is_refused_with_its_path(tag: object) -> None:
    with pytest.raises(ValidationFailed) as refused:
        subscribe(**POSITION, tag=tag)
    assert [fault["path"] for fault in refused.value.details] == ["tag"]


@pytest.mark.parametrize(
    ("members", "has_position"),
    [({}, False), (POSITION, True), ({"version": 7}, True), ({"epoch": "e"}, True), ({"tag": "a"}, True)],
)
def test_a_subscribe_with_epoch_version_or_tag_has_a_position(members: dict[str, Any], has_position: bool) -> None:
    assert subscribe(**members).has_resume_point is has_position


def test_a_state_frame_has_a_tag_only_if_the_tag_is_known() -> None:
    for tag, tag_member in (("a", {"tag": "a"}), ("", {})):
        whole = orjson.loads(
            extract_text_payload(v3_messages.state_frame("STATE_UPDATE", SESSION, "e", tag, 7, 1, b"{}"))
        )
        delta = orjson.loads(
            extract_text_payload(v3_messages.state_delta_frame(SESSION, "e", tag, 6, 7, 1, b'{"a":1}'))
        )
        common = {"session_id": SESSION, "version": 7, "server_time_ms": 1, "epoch": "e", **tag_member}
        assert whole == {"type": "STATE_UPDATE", **common, "state": {}}
        assert delta == {"type": "STATE_DELTA", **common, "from_version": 6, "patch": {"a": 1}}


@pytest.mark.parametrize("t0", [0, 1795345670696, -5, 12.5])
def test_t0_of_a_ping_is_kept_unchanged(t0: float) -> None:
    message = v3_messages.parse_v3_message(orjson.dumps({"type": "PING", "t0": t0}).decode())
    assert isinstance(message, v3_messages.Ping)
    assert orjson.dumps(message.t0) == orjson.dumps(t0)


@pytest.mark.parametrize("t0", ["1", None, True, [1]])
def test_a_ping_without_a_number_is_refused_with_one_fault(t0: object) -> None:
    with pytest.raises(ValidationFailed) as refused:
        v3_messages.parse_v3_message(orjson.dumps({"type": "PING", "t0": t0}).decode())
    assert refused.value.details == [{"path": "t0", "message": "should be a valid number"}]
