"""What a log line looks like, and what it never shows."""

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


def test_a_line_is_json_and_says_whose_it_is(stream: io.StringIO) -> None:
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


def test_the_standard_librarys_loggers_go_the_same_way(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        logging.getLogger("uvicorn.error").warning("said %s", "this", extra={"color_message": "\x1b[36msaid"})
    logging.getLogger("uvicorn.access").info("GET /")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["request_id"]) == ("said this", "uvicorn.error", "r1")
    assert "color_message" not in line


def test_the_level_counts(stream: io.StringIO) -> None:
    log.get_logger("a").debug("no")
    logging.getLogger("b").debug("no")
    assert lines(stream) == []


@pytest.mark.parametrize("dev", [False, True])
def test_no_secret_and_no_query_string_is_shown(dev: bool, stream: io.StringIO) -> None:
    log.configure("info", dev=dev, stream=stream)
    logger = log.get_logger("a")
    logger.info("kept", url="redis://:hidden@h/0", path="/ws?ticket=hidden", jwt_secret="hidden")
    logger.info("kept", headers={"authorization": "hidden"}, urls=["postgresql://u:hidden@h/d"])
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "127.0.0.1", "/ws?sessionId=hidden")
    password = "hidden"
    try:
        raise OSError(f"no way to redis://:{password}@h")
    except OSError:
        logger.exception("kept")
    assert stream.getvalue().count("kept") == 3
    assert "OSError" in stream.getvalue()
    assert "hidden" not in stream.getvalue()


def test_what_json_does_not_know_is_shown_all_the_same(stream: io.StringIO) -> None:
    log.get_logger("a").info("odd", thing=object, pair=(1, b"x"))
    assert lines(stream)[0]["event"] == "odd"
