"""Types of the JSON members of requests: strict, with bounds, and with descriptions for OpenAPI."""

import re
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, WithJsonSchema, WrapValidator
from pydantic_core import CoreSchema, PydanticCustomError

from synckairos.clock.update_session import MAX_LABELS, MAX_METADATA_BYTES
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.json_text_scan import SHORT_BYTES, is_nested_deeper
from synckairos.wire.validation_faults import FaultCountLimit

DAY_MS = 86_400_000
SECOND_MS = 1_000
MAX_INSTANT_MS = 221_845_392_000_000 - 1
"""Milliseconds since the Unix epoch: the last instant of the year 8999."""
MAX_DURATION_MS = 400 * DAY_MS
"""Milliseconds: maximum of each duration in a request."""

MAX_STAGES = 16
MAX_WARNINGS = 16
MAX_METADATA_DEPTH = 32

_TOO_DEEP = f"nested more than {MAX_METADATA_DEPTH} levels deep"

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

T = TypeVar("T")


class StrictModel(BaseModel):
    """Base of the models of requests: unknown JSON members are faults, and `1.0` and `true` are not integers."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_serialization_defaults_required=True
    )


class _NeverNull:
    """Annotation that removes null from the allowed values of an optional JSON member."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        inner: CoreSchema = schema["schema"] if schema["type"] == "nullable" else schema
        return inner


Omittable = Annotated[T | None, _NeverNull()]
"""A JSON member that can be absent. An absent member is None in Python, but a null in JSON is a fault."""


UntilFaultLimit = Annotated[T, WrapValidator(FaultCountLimit.validate_item)]
"""An item of a long array. Validation of the array stops after `MAX_FAULTS` faults."""


def parse_uuid(text: str) -> str:
    """Return a UUID of any version in lower case. The text must have the form with four hyphens.

    Raises: ValueError if the text is not such a UUID.
    """
    lowered = text.lower()
    if _UUID.fullmatch(lowered) is None:
        raise ValueError("should be a UUID")
    return lowered


def _check_uuid(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise PydanticCustomError("uuid", "should be a UUID") from error


def _check_instant(text: str) -> str:
    try:
        is_in_range = 0 <= parse_instant_ms(text) <= MAX_INSTANT_MS
    except ValueError as error:
        raise PydanticCustomError("instant", "should be an instant such as 2026-01-31T12:00:00.000Z") from error
    if not is_in_range:
        raise PydanticCustomError("instant", "should be in the years 1970 to 8999")
    return text


def metadata_fault(metadata: dict[str, Any]) -> str | None:
    """Return a text that describes the first fault in a session's metadata. Return None if there is no fault.

    Metadata are refused if they are nested too deep, are too large as JSON, or have a number that cannot be stored.
    """
    try:
        text = orjson.dumps(metadata)
    except orjson.JSONEncodeError:
        # orjson also refuses a value with more than 254 levels.
        return _TOO_DEEP if _is_deeper(metadata, MAX_METADATA_DEPTH) else "contains a number that cannot be stored"
    if len(text) > MAX_METADATA_BYTES:
        return f"should be at most {MAX_METADATA_BYTES} bytes of JSON, is {len(text)}"
    if (
        is_nested_deeper(text, MAX_METADATA_DEPTH)
        if len(text) >= SHORT_BYTES
        else _is_deeper(metadata, MAX_METADATA_DEPTH)
    ):
        return _TOO_DEEP
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_is_deeper(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value))


def _check_hundredths(factor: float) -> float:
    hundredths = factor * 100
    if abs(hundredths - round(hundredths)) > 1e-6:
        raise PydanticCustomError("hundredths", "should have at most two decimal places")
    return factor


def check_printable(text: str) -> str:
    """Return the text.

    Raises: PydanticCustomError if the text has characters that are not printable.
    """
    if not text.isprintable():
        raise PydanticCustomError("printable", "should have only printable characters")
    return text


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    if (text := metadata_fault(metadata)) is not None:
        raise PydanticCustomError("metadata", "{text}", {"text": text})
    return metadata


Uuid = Annotated[str, AfterValidator(_check_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
InstantText = Annotated[
    str,
    Field(max_length=40),
    AfterValidator(_check_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]
BudgetMs = Annotated[int, Field(ge=SECOND_MS, le=MAX_DURATION_MS, description="Budget in ms, 1 s to 400 days")]
DurationMs = Annotated[int, Field(ge=0, le=MAX_DURATION_MS, description="Duration in ms, at most 400 days")]
IncrementMs = Annotated[
    int, Field(ge=0, le=MAX_DURATION_MS, description="Time in ms that is added after each turn, at most 400 days")
]
RotationIndex = Annotated[
    int, Field(ge=0, le=2**31 - 1, description="Position of the participant in the order of turns")
]
CycleCount = Annotated[int, Field(ge=1, le=1_000_000)]
ExpectedVersion = Annotated[
    int,
    Field(
        ge=0,
        le=2**53 - 1,
        description="Version that the caller expects. If the session has another version: CONFLICT",
    ),
]
ExpectedTurn = Annotated[
    int,
    Field(
        ge=0,
        le=2**53 - 1,
        description="Turn number that the caller expects. If the session has another turn number: TURN_OVER",
    ),
]
RepresentedParticipantId = Annotated[
    Uuid,
    Field(
        description="Participant for which the caller acts. `switch`, `done`, `pause`, `resume` and `finish` accept it"
    ),
]
TimeFactor = Annotated[
    float,
    Field(ge=1, le=5, description="Factor of the participant's time, in hundredths. Only in `individual`"),
    AfterValidator(_check_hundredths),
]
OnlyParticipantId = Annotated[
    Uuid, Field(description="Participant whose row the session has alone. Absent: the session has all rows")
]
ShortText = Annotated[str, Field(max_length=200)]
PauseReasonName = Annotated[str, Field(min_length=1, max_length=64)]
LABEL_KEY = r"[a-z0-9._-]{1,63}"
LabelKey = Annotated[str, Field(pattern=f"^{LABEL_KEY}$")]
LabelValue = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_printable)]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    Field(max_length=MAX_LABELS, description=f"Keys and values by which sessions are found, at most {MAX_LABELS}"),
]
LabelChanges = Annotated[
    dict[LabelKey, LabelValue | None],
    Field(max_length=2 * MAX_LABELS, description="New values of labels by key; null removes the label"),
]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_check_metadata),
    Field(description=f"Free JSON object, at most {MAX_METADATA_BYTES} bytes and {MAX_METADATA_DEPTH} levels"),
]
