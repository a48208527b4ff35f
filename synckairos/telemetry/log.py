"""Logging of the whole process: JSON lines on stderr, or readable lines in development mode.

Log lines of this product and of libraries (uvicorn, arq) are processed in the same way. A line has `request_id` and
`session_id` if they are bound with `structlog.contextvars`. No line contains a password, a token or a query string.
"""

import json
import logging
import re
import socket
import sys
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_KEY = re.compile(r"secret|password|passwd|token|ticket|authorization|cookie|api_?key", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"((?:secret|password|passwd|pwd|token|ticket|api_?key)[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&\"'()]+)",
    re.IGNORECASE,
)
_CREDENTIALS = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
# The header of a JSON Web Token is a JSON object. White space may follow its brace, so there are four first letters.
_TOKEN = re.compile(r"\bwhsec_[A-Za-z0-9+/=]+|\b(?:eyJ|eyA|ewo|ew0)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SUBPROTOCOL = re.compile(r"(synckairos\.bearer\.)[^\s,;\"']+")
# The match extends to the last @, because a password can contain @ and /.
_USERINFO = re.compile(r"(?<=://)[^\s\"'<>]+@")
# The query string of a URL, or of a request line such as `"WebSocket /ws?ticket=…" [accepted]`.
_QUERY = re.compile(r"(/[^\s?\"']*)\?[^\s\"']+")


def configure_logging(level: str, *, dev: bool = False, stream: TextIO | None = None) -> None:
    """Write all log lines of `level` and above to `stream`, as JSON, or as readable text if `dev` is True.

    If `stream` is None, the lines are written to stderr. Start uvicorn with `log_config=None, access_log=False`.
    Otherwise uvicorn replaces the handlers of this function.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    out = stream or sys.stderr
    # Development mode also uses plain tracebacks. Formatted tracebacks print local variables, which can contain
    # secrets.
    render: Processor = _to_json
    prepare: list[Processor] = []
    if dev:
        prepare = [_escape_values]
        render = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _drop_color_message,
                structlog.processors.format_exc_info,
                scrub_event,
                *prepare,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "arq"):
        library_logger = logging.getLogger(name)
        library_logger.handlers = []
        library_logger.propagate = True
        library_logger.setLevel(logging.NOTSET)
    logging.getLogger("uvicorn.access").disabled = True
    # psycopg warns of each attempt to connect, in each pool. The pools report outages to `telemetry.outages` instead.
    logging.getLogger("psycopg").setLevel(max(logging.ERROR, root.level))
    # httpx logs the URL of each request. The path of some URLs is a secret, such as that of a chat webhook for alerts.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("asyncio").addFilter(_is_not_abandoned_lookup)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module.

    It can be called at import, because the logger reads its configuration at first use.
    """
    return structlog.stdlib.get_logger(name)


def scrub_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Return the fields of a log line with `***` instead of secrets, and without the query strings of URLs.

    This function is a processor of structlog.
    """
    return {key: "***" if _SECRET_KEY.search(key) and value else _scrub_value(value) for key, value in event.items()}


def scrub_secrets(text: str) -> str:
    """Return the text with `***` instead of secrets, and without the query strings of URLs.

    Secrets are the credentials in a URL or header, tokens, and values such as `password=`.
    """
    text = _QUERY.sub(r"\1", _USERINFO.sub("***@", text))
    text = _SUBPROTOCOL.sub(r"\1***", text)
    return _TOKEN.sub("***", _CREDENTIALS.sub(r"\1 ***", _SECRET_VALUE.sub(r"\1***", text)))


def escape_control_characters(text: str, *, keep_lines: bool = True) -> str:
    """Replace each character that is not printable by its JSON escape, such as `\\u001b`.

    A terminal obeys such characters: they move the cursor, change its title, or hide the text after them. Line feeds
    and tabs stay if `keep_lines` is True, and are also replaced if it is False.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if keep_lines else ""
    return "".join(each if each.isprintable() or each in kept else json.dumps(each)[1:-1] for each in text)


def _escape_values(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace control characters in the texts of a log line by escapes.

    Only tracebacks keep their line feeds and tabs.
    """
    return {
        key: escape_control_characters(value, keep_lines=key in ("exception", "stack"))
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _is_not_abandoned_lookup(record: logging.LogRecord) -> bool:
    """Return False for a failed look-up of a host name that nothing waited for any more.

    When the timeout of a connection attempt ends during the look-up, uvloop does not cancel the look-up. The attempt
    itself reports the timeout, so the later failure of the look-up tells nothing new.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], socket.gaierror))


def _drop_color_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Remove the coloured copy of the message that uvicorn adds to some log lines."""
    event.pop("color_message", None)
    return event


def _scrub_value(value: object) -> object:
    match value:
        case str():
            return scrub_secrets(value)
        case dict():
            return {
                key: "***" if isinstance(key, str) and _SECRET_KEY.search(key) and item else _scrub_value(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_scrub_value(item) for item in value]
        case _:
            return value


def _to_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    # orjson escapes most control characters, but not all that a terminal obeys.
    return escape_control_characters(orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode())
