"""The kinds of jobs there are, and what each takes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from synckairos.config import LONGEST_S
from synckairos.errors import ValidationFailed
from synckairos.wire.field_types import StrictModel, Uuid
from synckairos.wire.instants import parse_instant
from synckairos.wire.request_bodies import parse_body

Kind = Literal["archive", "export", "retention"]

KINDS: tuple[Kind, ...] = get_args(Kind)


def _check_instant(text: str) -> str:
    try:
        parse_instant(text)
    except (ValueError, OverflowError) as fault:
        raise PydanticCustomError("instant", "should be an instant with a time zone") from fault
    return text


When = Annotated[str, AfterValidator(_check_instant)]
Seconds = Annotated[int, Field(ge=0, le=LONGEST_S)]


class SessionsParams(StrictModel):
    """One session, or all that ended at least `after_s` seconds ago: what archive and retention take."""

    session_id: Uuid | None = None
    after_s: Seconds = 0


class ExportParams(StrictModel):
    """A range of instants, the end not in it."""

    from_: When = Field(alias="from")
    to: When
    format: Literal["ndjson", "csv"] = "ndjson"
    snapshots: bool = False

    @field_validator("to")
    @classmethod
    def _after_from(cls, to: str, others: ValidationInfo) -> str:
        if "from_" in others.data and parse_instant(to) <= parse_instant(others.data["from_"]):
            raise PydanticCustomError("span", "should be later than from")
        return to

    @property
    def span(self) -> tuple[datetime, datetime]:
        return datetime.fromisoformat(self.from_), datetime.fromisoformat(self.to)


def parse_params(type_: str, params: Mapping[str, Any]) -> SessionsParams | ExportParams:
    """Parse the params of a job. Raises ValidationFailed, also for a type that there isn't."""
    match type_:
        case "archive" | "retention":
            return parse_body(SessionsParams, dict(params))
        case "export":
            return parse_body(ExportParams, dict(params))
        case _:
            raise ValidationFailed.at("type", f"should be one of {', '.join(KINDS)}")
