"""The kinds of value that requests are made of: strict, bounded, and described for OpenAPI by the same words."""

import re
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, WithJsonSchema, WrapValidator
from pydantic_core import CoreSchema, PydanticCustomError

from synckairos.clock.engine import MAX_METADATA_BYTES
from synckairos.wire.validation_faults import FaultLimit

DAY_MS = 86_400_000
SECOND_MS = 1_000

MAX_STAGES = 16
MAX_WARNINGS = 16
MAX_METADATA_DEPTH = 32

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

T = TypeVar("T")


class StrictModel(BaseModel):
    """An object with these members and no others, each of exactly its type: `1.0` and `true` are no integers."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_serialization_defaults_required=True
    )


class _NeverNull:
    """Says that a member may be left out, but not be null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        inner: CoreSchema = schema["schema"] if schema["type"] == "nullable" else schema
        return inner


Omittable = Annotated[T | None, _NeverNull()]
"""A member that may be left out; it is None then, and null on the wire is a fault all the same."""


UntilFaultLimit = Annotated[T, WrapValidator(FaultLimit.validate_item)]
"""An item of a long list, of which no more are validated once enough are wrong."""


def parse_uuid(text: str) -> str:
    """Return a UUID of any version in lower case. Raises ValueError."""
    lowered = text.lower()
    if _UUID.fullmatch(lowered) is None:
        raise ValueError("should be a UUID")
    return lowered


def _check_uuid(text: str) -> str:
    try:
        return parse_uuid(text)
    except ValueError as error:
        raise PydanticCustomError("uuid", "should be a UUID") from error


def metadata_fault(metadata: dict[str, Any]) -> str | None:
    """Say what is wrong with a session's metadata, None where nothing is: too deep or too large as JSON."""
    if _is_deeper(metadata, MAX_METADATA_DEPTH):
        return f"nested more than {MAX_METADATA_DEPTH} levels deep"
    try:
        size = len(orjson.dumps(metadata))
    except orjson.JSONEncodeError:
        return "holds a number that can't be kept"
    if size > MAX_METADATA_BYTES:
        return f"should be at most {MAX_METADATA_BYTES} bytes of JSON, is {size}"
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_is_deeper(item, levels - 1) for item in (value.values() if isinstance(value, dict) else value))


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    if (told := metadata_fault(metadata)) is not None:
        raise PydanticCustomError("metadata", "{told}", {"told": told})
    return metadata


Uuid = Annotated[str, AfterValidator(_check_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
BudgetMs = Annotated[int, Field(ge=SECOND_MS, le=DAY_MS, description="A budget in ms, 1 s to 24 h")]
DurationMs = Annotated[int, Field(ge=0, le=DAY_MS, description="A duration in ms, up to 24 h")]
IncrementMs = Annotated[int, Field(ge=0, le=60_000, description="ms added after each turn, up to a minute")]
RotationIndex = Annotated[int, Field(ge=0, le=2**31 - 1, description="Place in the rotation")]
CycleCount = Annotated[int, Field(ge=1, le=1_000_000)]
ExpectedVersion = Annotated[
    int, Field(ge=0, le=2**53 - 1, description="The version the caller believes to be the newest")
]
ShortText = Annotated[str, Field(max_length=200)]
PauseReason = Annotated[str, Field(min_length=1, max_length=64)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_check_metadata),
    Field(description=f"Free JSON, at most {MAX_METADATA_BYTES} bytes and {MAX_METADATA_DEPTH} levels"),
]
