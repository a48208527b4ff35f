"""One log for everything in the process: JSON lines on stderr, or readable ones in dev.

Our own lines and the standard library's (uvicorn, arq) go the same way. Lines carry `request_id` and `session_id`
where somebody bound them with `structlog.contextvars`. No line ever shows a password, a token or a query string.
"""

import logging
import re
import sys
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_KEY = re.compile(r"secret|password|passwd|token|ticket|authorization|cookie|api_?key", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
# The query of a URL or of a request line such as `"WebSocket /ws?ticket=…" [accepted]`.
_QUERY = re.compile(r"(/[^\s?\"']*)\?[^\s\"']+")


def configure(level: str, *, dev: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line of `level` and above to `stream` (stderr), as JSON, or for a reader if `dev`.

    uvicorn must be given `log_config=None, access_log=False`, or it puts its own handlers back.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    out = stream or sys.stderr
    # A plain traceback also in dev: the pretty ones print local variables, secrets among them.
    render: Processor = _to_json
    if dev:
        render = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_uvicorns_copy,
                structlog.processors.format_exc_info,
                scrub,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "arq"):
        theirs = logging.getLogger(name)
        theirs.handlers = []
        theirs.propagate = True
        theirs.setLevel(logging.NOTSET)
    logging.getLogger("uvicorn.access").disabled = True
    # psycopg sets a level of its own when it is imported, which would let warnings through that nobody asked for.
    logging.getLogger("psycopg").setLevel(max(logging.WARNING, root.level))
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


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module; safe at import time, it takes its configuration when it is first used."""
    return structlog.stdlib.get_logger(name)


def scrub(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Take secrets and query strings out of every value of a line."""
    return {key: "***" if _SECRET_KEY.search(key) and value else _scrubbed(value) for key, value in event.items()}


def _without_uvicorns_copy(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop the coloured copy that uvicorn adds to some of its messages."""
    event.pop("color_message", None)
    return event


def _scrubbed(value: object) -> object:
    match value:
        case str():
            return _QUERY.sub(r"\1", _USERINFO.sub("***@", value))
        case dict():
            return {
                key: "***" if isinstance(key, str) and _SECRET_KEY.search(key) and item else _scrubbed(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_scrubbed(item) for item in value]
        case _:
            return value


def _to_json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
