"""Formats of commands to many sessions: Pydantic models of the request and the response."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from synckairos.clock.update_session import MAX_LABELS
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.field_types import Omittable, StrictModel, Uuid
from synckairos.wire.query_parameters import LabelText, each_key_once

MAX_SESSIONS = 1_000
"""Maximum number of sessions of one command."""

MAX_COMMAND_ID_CHARACTERS = 250
"""Maximum length of a command id. The command id of each session has a prefix, and at most 255 characters."""


def _each_once(session_ids: list[str]) -> list[str]:
    if len(set(session_ids)) < len(session_ids):
        raise PydanticCustomError("twice", "should name each session only once")
    return session_ids


def _known_command(name: str) -> str:
    if name not in COMMAND_BODIES:
        raise PydanticCustomError("command", "should be one of {names}", {"names": ", ".join(COMMAND_BODIES)})
    return name


class CommandToMany(StrictModel):
    """One command for many sessions: those of `session_ids`, or those that have all labels of `label` and did not end.

    A repeated request with the same `command_id` addresses the same sessions, and executes nothing twice.
    """

    session_ids: Omittable[
        Annotated[
            list[Uuid],
            Field(min_length=1, max_length=MAX_SESSIONS, json_schema_extra={"uniqueItems": True}),
            AfterValidator(_each_once),
        ]
    ] = None
    label: Omittable[
        Annotated[list[LabelText], Field(min_length=1, max_length=MAX_LABELS), AfterValidator(each_key_once)]
    ] = None
    command: Annotated[
        str,
        AfterValidator(_known_command),
        Field(description="Name of the command", json_schema_extra={"enum": [*COMMAND_BODIES]}),
    ]
    args: Annotated[dict[str, Any], Field(description="Arguments of the command, as in its own request")] = Field(
        default_factory=dict
    )
    command_id: Annotated[
        str,
        Field(
            pattern=rf"^[!-~]{{1,{MAX_COMMAND_ID_CHARACTERS}}}\z",
            description="Id of the request. For each session, the command has the id `bulk:<command_id>`",
        ),
    ]

    @model_validator(mode="after")
    def _require_one_choice(self) -> Self:
        if (self.session_ids is None) == (self.label is None):
            raise PydanticCustomError("choice", "should have either `session_ids` or `label`")
        return self


class CommandErrorView(BaseModel):
    """The refusal of a command for one session."""

    code: str
    message: str
    details: Any = Field(default=None, description="Details of the refusal; absent if there are none")


class CommandResultView(BaseModel):
    """The result of a command for one session: its version after the command, or the refusal."""

    session_id: Uuid
    version: int = Field(default=0, description="Version after the command; absent after a refusal")
    error: CommandErrorView = Field(default_factory=lambda: CommandErrorView(code="", message=""))


class CommandResults(BaseModel):
    results: list[CommandResultView]


class CommandResultsAnswer(BaseModel):
    data: CommandResults
