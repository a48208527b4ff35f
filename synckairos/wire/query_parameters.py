"""What may stand in a query string, as models. Everything in one is text; numbers are read from plain digits."""

import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from synckairos.errors import ValidationFailed
from synckairos.wire.creation_body import SyncModeName
from synckairos.wire.field_types import Omittable, StrictModel
from synckairos.wire.request_bodies import parse_body
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
        raise PydanticCustomError("metadata_key", "should be metadata. and a key of at most 64 characters")
    return text


LAST_INSTANT_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

Flag = Annotated[bool, BeforeValidator(_flag)]
Limit = Annotated[int, Field(ge=1, le=200, description="Entries on a page"), BeforeValidator(_number)]
Days = Annotated[int, Field(ge=1, le=3_660, description="How many days back"), BeforeValidator(_number)]
InstantMs = Annotated[
    int,
    Field(ge=0, le=LAST_INSTANT_MS, description="The session as it was at this instant, in ms since the Unix epoch"),
    BeforeValidator(_number),
]
Cursor = Annotated[str, Field(min_length=1, max_length=512, description="`next_cursor` of the page before")]
InstantOrDay = Annotated[str, Field(max_length=40)]
MetadataKey = Annotated[
    str,
    AfterValidator(_metadata_key),
    Field(
        description="Sums apart for each value of a member of the metadata: `metadata.<key>`",
        json_schema_extra={"pattern": f"^{_METADATA_KEY.pattern}$"},
    ),
]


def parse_query(model: type[Model], query: bytes, known: list[Fault] | None = None) -> Model:
    """Parse a query string. Raises ValidationFailed with every fault, `known` ones first."""
    faults = list(known or ())
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise ValidationFailed([*faults, fault((), "the query string is malformed")]) from None
    values: dict[str, str] = {}
    for name, text in pairs:
        if name in values:
            faults.append(fault((name,), "named twice"))
        values[name] = text
    return parse_body(model, values, faults)


class ReadQuery(StrictModel):
    """`at` shows a session as it was at that instant, in ms since the Unix epoch."""

    at: Omittable[InstantMs] = None


class PageQuery(StrictModel):
    limit: Limit = 50
    cursor: Omittable[Cursor] = None


class ListQuery(PageQuery):
    """Sessions, newest first."""

    status: Omittable[StatusName] = None
    sync_mode: Omittable[SyncModeName] = None


class EventsQuery(PageQuery):
    """A session's events, oldest first; `snapshots` adds the state each led to."""

    snapshots: Flag = False


class ArchiveQuery(StrictModel):
    """A session's archive; `snapshots` adds the state each event led to."""

    snapshots: Flag = False


class ParticipantSessionsQuery(PageQuery):
    """A participant's sessions of the last `days`, newest first."""

    days: Days = 30


class ParticipantTimeQuery(StrictModel):
    """A participant's time, summed in buckets. `from` and `to` are instants, or days of the time zone `tz`."""

    from_: Omittable[InstantOrDay] = Field(
        default=None,
        alias="from",
        description="An instant (with a time zone, or in ms since the Unix epoch) or a day such as 2026-01-31; "
        "left out, 30 days before the end",
    )
    to: Omittable[InstantOrDay] = Field(
        default=None, description="An instant, not included, or a day, included; left out, now"
    )
    tz: str = Field(default="UTC", max_length=64, description="The time zone, by its name, in which days begin")
    bucket: Literal["session", "day", "week"] = Field(
        default="day", description="Sums for each session, each day, or each ISO week"
    )
    group_by: Omittable[MetadataKey] = None
