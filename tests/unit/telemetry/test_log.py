"""Log lines are JSON with their context, and show no secrets."""

import asyncio
import io
import logging
import socket

import httpx
import pytest
import structlog

from synckairos.telemetry import log
from tests.unit.telemetry.log_lines import lines


def test_line_is_json_with_its_logger_and_bound_context(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1", session_id="s1"):
        log.get_logger("synckairos.service.sessions").info("committed", version=2)
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "committed",
        "version": 2,
        "request_id": "r1",
        "session_id": "s1",
        "level": "info",
        "logger": "synckairos.service.sessions",
    }


def test_lines_of_libraries_have_the_same_form(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logging.getLogger("uvicorn.error").warning("closed %s", "it", extra={"color_message": "\x1b[36mclosed"})
    logging.getLogger("uvicorn.access").info("GET /")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["request_id"]) == ("closed it", "uvicorn.error", "r1")
    assert "color_message" not in line


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    log.get_logger("a").debug("not written")
    logging.getLogger("b").debug("not written")
    assert lines(stream) == []


@pytest.mark.parametrize("dev", [False, True])
def test_secrets_and_query_strings_are_removed(dev: bool, stream: io.StringIO) -> None:
    log.configure_logging("info", dev=dev, stream=stream)
    logger = log.get_logger("a")
    logger.info("kept", url="redis://:hidden@h/0", path="/ws?ticket=hidden", jwt_secret="hidden")
    logger.info("kept", url="cannot connect to redis://u:hid@d/den@h:1/0 now")
    logger.info("kept", headers={"authorization": "hidden"}, urls=["postgresql://u:hidden@h/d"])
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "127.0.0.1", "/ws?sessionId=hidden")
    password = "hidden"
    try:
        raise OSError(f"cannot connect to redis://:{password}@h")
    except OSError:
        logger.exception("kept")
    assert stream.getvalue().count("kept") == 4
    assert "OSError" in stream.getvalue()
    assert "hidden" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "header Authorization: Bearer abc.DEF-_123=",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln was refused",
        "token eyAiYWxnIjogIkhTMjU2IiB9.eyJzdWIiOiJ4In0.c2ln was refused",
        "token ewogImFsZyI6ICJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln was refused",
        "< Sec-WebSocket-Protocol: synckairos.v3, synckairos.bearer.hidden",
        "connection failed: host=h password=hid/d@en user=u",
        "{'password': 'hidden value', 'n': 1}",
        "opened wss://host/ws?sessionId=1&ticket=hidden",
        "ticket=hidden",
        "the secret whsec_hidden+/= is old",
        "redis://us@er:hid/d@en@h:1/0",
    ],
)
def test_secrets_in_a_text_are_removed(text: str) -> None:
    scrubbed = log.scrub_secrets(text)
    assert "***" in scrubbed or "?" not in scrubbed
    for secret in ("abc.DEF", "eyJ", "c2ln", "hid", "en@h", "sessionId"):
        assert secret not in scrubbed


@pytest.mark.parametrize("dev", [False, True])
def test_control_characters_of_callers_do_not_reach_the_terminal(dev: bool, stream: io.StringIO) -> None:
    log.configure_logging("info", dev=dev, stream=stream)
    log.get_logger("a").info("kept", name="x\x1b[2J\x9b1m\n2026 forged line\u202e")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert not {"\x1b", "\x9b", "\u202e"} & set(text)
    assert "\\u001b[2J" in text


def test_control_characters_become_escapes_and_lines_stay() -> None:
    escaped = "a\\u001b[31m\\r\n\tb\\u009b\\u202e é"
    assert log.escape_control_characters("a\x1b[31m\r\n\tb\x9b\u202e é") == escaped
    assert log.escape_control_characters("a\nb", keep_lines=False) == "a\\nb"


def test_values_without_a_json_form_are_written_as_text(stream: io.StringIO) -> None:
    log.get_logger("a").info("odd", thing=object, pair=(1, b"x"))
    assert lines(stream)[0]["event"] == "odd"


async def test_failed_look_up_that_nothing_waits_for_is_not_logged(stream: io.StringIO) -> None:
    for error in (socket.gaierror(-3, "Temporary failure in name resolution"), OSError("other")):
        asyncio.get_running_loop().create_future().set_exception(error)  # asyncio logs the error at its deletion
    assert ["other" in line["exception"] for line in lines(stream)] == [True]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_requests_of_the_http_client_are_not_logged(level: str, stream: io.StringIO) -> None:
    log.configure_logging(level, stream=stream)
    secret_url = "https://hooks.example.org/services/T0/B0/hidden"  # the path of a chat webhook is its secret
    httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))).post(secret_url)
    logging.getLogger("httpcore.connection").debug("connect_tcp.started host=%r", "hooks.example.org")
    assert lines(stream) == []
