"""Log lines are JSON with their context, and show no secrets."""

import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from synckairos.telemetry import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    out = io.StringIO()
    log.configure("info", stream=out)
    yield out
    log.configure("info")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


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
    log.configure("info", dev=dev, stream=stream)
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


def test_values_without_a_json_form_are_written_as_text(stream: io.StringIO) -> None:
    log.get_logger("a").info("odd", thing=object, pair=(1, b"x"))
    assert lines(stream)[0]["event"] == "odd"
