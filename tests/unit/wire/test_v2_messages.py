"""Messages of the v2 dialect: input is parsed or refused as malformed, and frames have the members of v2."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synckairos.errors import MalformedMessage, SessionNotFound
from synckairos.wire import v2_messages
from synckairos.wire.websocket_frames import extract_text_payload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.text() | st.binary())
def test_arbitrary_input_is_malformed(sent: str | bytes) -> None:
    with pytest.raises(MalformedMessage):
        v2_messages.parse_v2_message(sent)


@given(JSON)
def test_an_unknown_type_is_malformed(kind: object) -> None:
    with pytest.raises(MalformedMessage):
        v2_messages.parse_v2_message(orjson.dumps({"type": kind}, option=orjson.OPT_NON_STR_KEYS, default=str))


@pytest.mark.parametrize("kind", ["PING", "RECONNECT"])
def test_unknown_members_are_ignored(kind: str) -> None:
    assert v2_messages.parse_v2_message(f'{{"type":"{kind}","sessionId":1,"x":[]}}') == v2_messages.V2ClientMessage(
        kind
    )


def test_a_state_frame_contains_the_documents_unchanged_bytes() -> None:
    document = '{"version":3,"metadata":{"ü":[1.0,"\\u2028"]}}'.encode()
    frame = v2_messages.state_update_frame("id", 17, document)
    assert (
        extract_text_payload(frame)
        == b'{"type":"STATE_UPDATE","sessionId":"id","timestamp":17,"state":' + document + b"}"
    )


def test_each_frame_has_exactly_the_members_of_v2() -> None:
    frames = {
        "CONNECTED": (v2_messages.connected_frame("id", 1), ["type", "sessionId", "timestamp"]),
        "STATE_SYNC": (v2_messages.state_sync_frame("id", 1, b"{}"), ["type", "sessionId", "timestamp", "state"]),
        "SESSION_DELETED": (v2_messages.session_deleted_frame("id", 1), ["type", "sessionId", "timestamp"]),
        "PONG": (v2_messages.pong_frame(1), ["type", "timestamp"]),
        "ERROR": (v2_messages.error_frame(SessionNotFound("id")), ["type", "code", "message"]),
    }
    for kind, (frame, members) in frames.items():
        message = orjson.loads(extract_text_payload(frame))
        assert list(message) == members
        assert message["type"] == kind
