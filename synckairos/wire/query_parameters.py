"""Pydantic models of query strings. All values in a query string are text; numbers are plain digits."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from synckairos.clock.update_session import MAX_LABELS
from synckairos.errors import ValidationFailed
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import SyncModeName
from synckairos.wire.field_types import LABEL_KEY, Omittable, OnlyParticipantId, StrictModel, parse_uuid
from synckairos.wire.session_view import StatusName
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


def _split_labels(texts: list[str]) -> dict[str, str]:
    """Return the labels in texts such as `round=3`, by key."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def each_key_once(texts: list[str]) -> list[str]:
    """Return the label filters `texts` unchanged. Used as a validator of pydantic.

    Raises: PydanticCustomError if a key has several values.
    """
    if len(_split_labels(texts)) < len(set(texts)):
        raise PydanticCustomError("label", "should name each key with only one value")
    return texts


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
LabelText = Annotated[
    str,
    Field(
        pattern=f"^{LABEL_KEY}=.{{1,63}}$",
        description="Label that each listed session has, as `<key>=<value>`. Repeat it to require several labels",
    ),
]
Cursor = Annotated[str, Field(min_length=1, max_length=512, description="`next_cursor` of the previous page")]
Columns = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4_096,
        description="Names of the members to return, separated by commas. `metadata.<key>` is a member of the metadata",
    ),
]
RoundMs = Annotated[int, Field(ge=1, le=86_400_000), BeforeValidator(_number)]
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
    """Parse a query string into an instance of `model`.

    Queries of routes that v2 has (`V2CompatibleQuery`) ignore parameters that the model does not name. Other queries
    refuse them. `known` has faults that the caller has already found; None if there are none.

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
    return parse_body(model, _collect_values(model, pairs, faults), faults)


def _collect_values(
    model: type[StrictModel], pairs: Iterable[tuple[str, str]], faults: list[Fault]
) -> dict[str, str | list[str]]:
    """Return the parameters by name. A parameter that is a list in the model has a list of all its values.

    A fault is added to `faults` for each other parameter that appears twice.
    """
    values: dict[str, str | list[str]] = {}
    for name, text in pairs:
        earlier = values.get(name)
        if _is_list(model, name):
            values[name] = [*(earlier or ()), text]
            continue
        if earlier is not None:
            faults.append(fault((name,), "this parameter appears twice"))
        values[name] = text
    return values


def _is_list(model: type[StrictModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is list


def _read_named_parameters(
    model: type[StrictModel], query: bytes, known: list[Fault] | None
) -> tuple[dict[str, str | list[str]], list[Fault]]:
    """Return the parameters that the model names, and the faults: `known`, then a fault for each repeated parameter.

    Parameters that the model does not name are skipped and can have any form. The values are not validated.
    """
    faults = list(known or ())
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    named = ((name, text) for name, text in pairs if name in model.model_fields)
    return _collect_values(model, named, faults), faults


class V2CompatibleQuery(StrictModel):
    """The query of a route that v2 has. Unknown parameters are ignored, because v2 clients add `_=<time>`."""


class ReadQuery(V2CompatibleQuery):
    """The query for one session: its state at the instant `at`, or its latest state if `at` is absent.

    With `only`, the session has the row of this participant alone.
    """

    at: Omittable[InstantMs] = None
    only: Omittable[OnlyParticipantId] = None


class PageQuery(StrictModel):
    """The query for one page of a list."""

    limit: Limit = 50
    cursor: Omittable[Cursor] = None


class OwnSessionsQuery(PageQuery):
    """The query for the sessions that the caller can reach, newest first."""

    status: Omittable[StatusName] = None
    sync_mode: Omittable[SyncModeName] = None
    label: Annotated[list[LabelText], Field(max_length=MAX_LABELS), AfterValidator(each_key_once)] = Field(
        default_factory=list
    )


class ListQuery(OwnSessionsQuery):
    """The query for a list of sessions, newest first."""

    columns: Omittable[Columns] = None

    @property
    def labels(self) -> dict[str, str]:
        """The labels that each listed session has. Empty without a filter."""
        return _split_labels(self.label)

    @property
    def is_filtered(self) -> bool:
        """Whether the query excludes some sessions."""
        return self.status is not None or self.sync_mode is not None or bool(self.label) or self.only_unfinished

    @property
    def only_unfinished(self) -> bool:
        """Whether the query excludes the sessions that have ended."""
        return False


class UnfinishedListQuery(ListQuery):
    """The query for a list of sessions that have not ended. No REST operation has this query."""

    @property
    def only_unfinished(self) -> bool:
        return True


class EventsQuery(PageQuery):
    """The query for the events of a session, oldest first.

    If `snapshots` is true, each event has the session's state after the event.
    """

    snapshots: Flag = False
    columns: Omittable[Columns] = None


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
    columns: Omittable[Columns] = None


class TimeReportQuery(StrictModel):
    """The query for a time report. `from` and `to` are instants, or days in the time zone `tz`."""

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
    bucket: Literal["session", "day", "week", "month"] = Field(
        default="day", description="One sum for each session, day, week or month"
    )
    week_start: Omittable[Literal["monday", "sunday", "saturday"]] = Field(
        default=None,
        description="First day of a week. Default: monday, which gives ISO weeks. Other weeks have the name of their "
        "first day",
    )
    round_ms: Omittable[RoundMs] = Field(
        default=None, description="The part of each session in a bucket is rounded to a multiple of this time in ms"
    )
    round: Omittable[Literal["up", "nearest"]] = Field(
        default=None, description="Direction of the rounding, with `round_ms`. Default: nearest"
    )
    columns: Omittable[Columns] = None

    def faults(self) -> list[Fault]:
        """Return the faults that concern several parameters."""
        found: list[Fault] = []
        if self.week_start is not None and self.bucket != "week":
            found.append(fault(("week_start",), "is allowed only with bucket=week"))
        if self.round is not None and self.round_ms is None:
            found.append(fault(("round",), "is allowed only with round_ms"))
        return found


class ParticipantTimeQuery(TimeReportQuery):
    """The query for a participant's time report."""

    group_by: Omittable[MetadataKey] = None


MAX_REPORT_PARTICIPANTS = 100
"""Maximum number of participants of a report of hours."""

MAX_REPORT_PAGE_ROWS = 1_000

LABEL_PREFIX = "label."
"""Begin of a grouping by a label."""

_LABEL_GROUP = re.compile(rf"label\.{LABEL_KEY}")


def _each_once(text: str) -> str:
    values = text.split(",")
    if len(set(values)) < len(values):
        raise PydanticCustomError("twice", "should name each value only once")
    return text


def _participant_list(text: str) -> str:
    ids = text.split(",")
    if len(ids) > MAX_REPORT_PARTICIPANTS:
        raise PydanticCustomError("many", "should have at most {most} ids", {"most": MAX_REPORT_PARTICIPANTS})
    try:
        lowered = [parse_uuid(each) for each in ids]
    except ValueError as error:
        raise PydanticCustomError("uuid", "should be UUIDs, separated by commas") from error
    return _each_once(",".join(lowered))


def _groups(text: str) -> str:
    groups = text.split(",")
    if any(each != "participant" and _LABEL_GROUP.fullmatch(each) is None for each in groups):
        raise PydanticCustomError("group", "should be `participant` or `label.<key>`, separated by commas")
    if len(groups) > 1 + MAX_LABELS:
        raise PydanticCustomError("many", "should have at most {most} values", {"most": 1 + MAX_LABELS})
    return _each_once(text)


class HoursQuery(TimeReportQuery):
    """The query for a report of the hours of several participants, of sessions with some labels, or of both."""

    participants: Omittable[
        Annotated[
            str,
            AfterValidator(_participant_list),
            Field(max_length=4_096, description="Ids of participants, separated by commas, at most 100"),
        ]
    ] = None
    label: Annotated[list[LabelText], Field(max_length=MAX_LABELS), AfterValidator(each_key_once)] = Field(
        default_factory=list
    )
    group_by: Omittable[
        Annotated[
            str,
            AfterValidator(_groups),
            Field(
                max_length=1_200,
                description="`participant` and `label.<key>`, separated by commas. Each value gets separate sums",
            ),
        ]
    ] = None
    limit: Annotated[
        int, Field(ge=1, le=MAX_REPORT_PAGE_ROWS, description="Maximum number of rows"), BeforeValidator(_number)
    ] = 200
    cursor: Omittable[
        Annotated[str, Field(min_length=1, max_length=8_192, description="`next_cursor` of the previous page")]
    ] = None

    @property
    def participant_ids(self) -> tuple[str, ...] | None:
        """The ids of the participants whose times count, in lower case. None for all."""
        return None if self.participants is None else tuple(self.participants.split(","))

    @property
    def labels(self) -> dict[str, str]:
        """The labels that each session must have. Empty without a filter."""
        return _split_labels(self.label)

    @property
    def groups(self) -> tuple[str, ...]:
        """The members of a row that say what it sums: `participant_id` first, then `label.<key>`."""
        given = () if self.group_by is None else tuple(self.group_by.split(","))
        labels = tuple(each for each in given if each != "participant")
        return ("participant_id", *labels) if "participant" in given else labels

    def faults(self) -> list[Fault]:
        found = super().faults()
        if self.participants is None and not self.label:
            found.append(fault(("participants",), "required, unless label is given"))
        return found
