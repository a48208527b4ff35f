"""Pydantic models of query strings. All values in a query string are text; numbers are plain digits."""

import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import SyncModeName
from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.response_models import StatusName
from synckairos.wire.validation_faults import Fault, fault

MAX_FIELDS = 100

_DIGITS = re.compile(r"-?[0-9]{1,16}", re.ASCII)
_METADATA_KEY = re.compile(r"metadata\..{1,64}")

Model = TypeVar("Model", bound=StrictModel)


def _number(text: Any) -> Any:
    return int(text) if isinstance(text, str) and _DIGITS.fullmatch(text) else text


def _flag(text: Any) -> Any:
    return {"1": True, "true": True, "0": False, "false": False}.get(text, text)


def _metadata_key(text: str) -> str:
    if _METADATA_KEY.fullmatch(text) is None:
        raise PydanticCustomError("metadata_key", "should be `metadata.` and a key of at most 64 characters")
    return text


LAST_INSTANT_MS = 253_402_300_799_999
"""Milliseconds since the Unix epoch: the last millisecond of the year 9999."""

Flag = Annotated[bool, BeforeValidator(_flag)]
Limit = Annotated[int, Field(ge=1, le=200, description="Maximum number of items on a page"), BeforeValidator(_number)]
Days = Annotated[int, Field(ge=1, le=3_660, description="Number of days before now"), BeforeValidator(_number)]
InstantMs = Annotated[
    int,
    Field(
        ge=0,
        le=LAST_INSTANT_MS,
        description="Instant in ms since the Unix epoch. The response has the session as it was at this instant",
    ),
    BeforeValidator(_number),
]
Cursor = Annotated[str, Field(min_length=1, max_length=512, description="`next_cursor` of the previous page")]
InstantOrDay = Annotated[str, Field(max_length=40)]
MetadataKey = Annotated[
    str,
    AfterValidator(_metadata_key),
    Field(
        description="JSON member of the metadata, as `metadata.<key>`. Each value of the member gets separate sums",
        json_schema_extra={"pattern": f"^{_METADATA_KEY.pattern}$"},
    ),
]


def parse_query(model: type[Model], query: bytes, known: list[Fault] | None = None) -> Model:
    """Parse a query string into a model.

    Queries of routes that v2 has (`V2CompatibleQuery`) ignore parameters that the model does not name. Other queries
    refuse them. `known` has the faults that the caller has already found.

    Raises: ValidationFailed if there are faults in the query or in `known`. The error lists the faults in `known`
    first.
    """
    if issubclass(model, V2CompatibleQuery):
        return parse_body(model, *_read_named_parameters(model, query, known))
    faults = list(known or ())
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise ValidationFailed([*faults, fault((), "the query string is malformed")]) from None
    values: dict[str, str] = {}
    for name, text in pairs:
        if name in values:
            faults.append(fault((name,), "this parameter appears twice"))
        values[name] = text
    return parse_body(model, values, faults)


def _read_named_parameters(
    model: type[StrictModel], query: bytes, known: list[Fault] | None
) -> tuple[dict[str, str], list[Fault]]:
    """Return the parameters that the model names, and the faults: `known`, then a fault for each repeated parameter.

    Parameters that the model does not name are skipped and can have any form. The values are not validated.
    """
    faults = list(known or ())
    values: dict[str, str] = {}
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace"):
        if name in model.model_fields:
            if name in values:
                faults.append(fault((name,), "this parameter appears twice"))
            values[name] = text
    return values, faults


class V2CompatibleQuery(StrictModel):
    """The query of a route that v2 has. Unknown parameters are ignored, because v2 clients add `_=<time>`."""


class ReadQuery(V2CompatibleQuery):
    """The query for one session: its state at the instant `at`, or its latest state if `at` is absent."""

    at: Omittable[InstantMs] = None


class PageQuery(StrictModel):
    """The query for one page of a list."""

    limit: Limit = 50
    cursor: Omittable[Cursor] = None


class ListQuery(PageQuery):
    """The query for a list of sessions, newest first."""

    status: Omittable[StatusName] = None
    sync_mode: Omittable[SyncModeName] = None


class EventsQuery(PageQuery):
    """The query for the events of a session, oldest first.

    If `snapshots` is true, each event has the session's state after the event.
    """

    snapshots: Flag = False


class ArchiveQuery(StrictModel):
    """The query for the archive of a session.

    If `snapshots` is true, each event has the session's state after the event.
    """

    snapshots: Flag = False


class ParticipantSessionsQuery(PageQuery):
    """The query for the sessions of a participant that were started in the last `days` days, newest first.

    A session that was never started counts from its creation.
    """

    days: Days = 30


class ParticipantTimeQuery(StrictModel):
    """The query for a participant's time report. `from` and `to` are instants, or days in the time zone `tz`."""

    from_: Omittable[InstantOrDay] = Field(
        default=None,
        alias="from",
        description="Begin: an instant (with a time zone, or in ms since the Unix epoch) or a day such as 2026-01-31. "
        "Default: 30 days before the end",
    )
    to: Omittable[InstantOrDay] = Field(
        default=None, description="End: an instant, which is excluded, or a day, which is included. Default: now"
    )
    tz: str = Field(default="UTC", max_length=64, description="Time zone of the days, by its IANA name")
    bucket: Literal["session", "day", "week"] = Field(
        default="day", description="One sum for each session, day or ISO week"
    )
    group_by: Omittable[MetadataKey] = None
