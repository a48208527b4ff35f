"""Pydantic models of presets: the answers about presets, and the creation of a session from a preset.

`CreateFromPreset` is for the description alone. The server merges the request with the preset, and reads the result as
`CreateSession`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from synckairos.wire.creation_body import CreateSession, Participant, SyncModeName
from synckairos.wire.field_types import Omittable, StrictModel, Uuid

Face = Literal["chess", "go", "stage", "sport"]
Layout = Literal["versus", "single", "agenda", "list"]


PresetParticipantId = Annotated[Omittable[Uuid], Field(description="Id of the participant. Default: a new UUID")]

PresetName = Annotated[str, Field(description="Name of the preset, such as `chess/fide-blitz`")]


class PresetParticipant(Participant):
    """A participant of a session from a preset. Members that are left out are those of the role in the preset."""

    # The type checker does not know that the models are alternatives, in which this member is optional.
    participant_id: PresetParticipantId = None  # type: ignore[assignment]


def _allow_nulls(schema: dict[str, Any]) -> None:
    """Allow null in each member but `preset`. It removes the member of the preset."""
    members = schema["properties"]
    for name, member in members.items():
        if name != "preset":
            text = {"description": member.pop("description")} if "description" in member else {}
            members[name] = {"anyOf": [member, {"type": "null"}], **text}


class CreateFromPreset(CreateSession):
    """A session to create from a preset. Each member replaces the member of the preset, and null removes it.

    If the preset has fixed roles, each of `participants` takes the role at its position. The members of `metadata` are
    added.
    """

    model_config = ConfigDict(json_schema_extra=_allow_nulls)

    preset: PresetName
    sync_mode: Omittable[SyncModeName] = None  # type: ignore[assignment]  # the mode is optional here
    participants: list[PresetParticipant] = Field(default_factory=list)  # type: ignore[assignment]


class PresetViewStyle(BaseModel):
    """The style of the clocks of a preset on a page."""

    face: Face = Field(description="Face of the clocks, as the element `sync-clock` shows it")
    layout: Layout = Field(
        description="`versus`: a clock for each of two participants. `single`: one clock. `agenda`: one clock with the "
        "plan. `list`: a row for each participant"
    )


class PresetSummary(BaseModel):
    """A preset in the list."""

    name: str = Field(description="Category and name, such as `chess/fide-blitz`")
    title: str = Field(description="Title for people")
    text: str = Field(description="Description for people: what the clock does")
    view: PresetViewStyle


class PresetDetails(PresetSummary):
    """A preset with its session."""

    has_fixed_roles: bool = Field(
        description="Whether the participants are the roles of the format. Otherwise they are examples, which the "
        "participants of a request replace"
    )
    sources: list[str] = Field(description="URLs of the rules that the preset follows")
    session: dict[str, Any] = Field(
        description="Body of a creation. Ids of participants are names, which the creation replaces by UUIDs"
    )


class PresetList(BaseModel):
    data: list[PresetSummary]


class PresetAnswer(BaseModel):
    data: PresetDetails


class PresetFile(StrictModel):
    """A data file of a preset."""

    title: Annotated[str, Field(min_length=1, max_length=60)]
    text: Annotated[str, Field(min_length=20, max_length=400)]
    view: PresetViewStyle
    has_fixed_roles: bool
    sources: list[Annotated[str, Field(pattern=r"^https://[^ ]+\z")]]
    session: dict[str, Any]
