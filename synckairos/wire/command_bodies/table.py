"""Tables of all command bodies by the name of the command. OpenAPI is generated from the same models."""

from synckairos.wire.command_bodies.audience_display import AnnounceBody, ScreenBody
from synckairos.wire.command_bodies.participants import AdjustBody, JoinBody, LeaveBody, UpdateParticipantBody
from synckairos.wire.command_bodies.pauses import PauseBody, ResumeBody, StoredPauseBody, StoredResumeBody
from synckairos.wire.command_bodies.session_changes import AmendBody, MetadataBody, SessionChangesBody, StoredAmendBody
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.command_bodies.start_and_end import (
    CancelBody,
    CompleteBody,
    DeleteBody,
    ReopenBody,
    StartBody,
    StoredReopenBody,
)
from synckairos.wire.command_bodies.turns import (
    DoneBody,
    FinishBody,
    SetPlanBody,
    StoredUndoBody,
    SwitchBody,
    SwitchWithServerLag,
    UndoBody,
)

COMMAND_BODIES: dict[str, type[CommandBody]] = {
    "start": StartBody,
    "switch": SwitchBody,
    "done": DoneBody,
    "finish": FinishBody,
    "pause": PauseBody,
    "resume": ResumeBody,
    "adjust": AdjustBody,
    "complete": CompleteBody,
    "cancel": CancelBody,
    "add_participant": JoinBody,
    "remove_participant": LeaveBody,
    "update_participant": UpdateParticipantBody,
    "update_metadata": MetadataBody,
    "update_session": SessionChangesBody,
    "set_plan": SetPlanBody,
    "undo": UndoBody,
    "reopen": ReopenBody,
    "amend": AmendBody,
    "announce": AnnounceBody,
    "screen": ScreenBody,
    "delete": DeleteBody,
}
"""The model of each command's request body, by the name of the command."""

SIMULATED_COMMAND_BODIES: dict[str, type[CommandBody]] = COMMAND_BODIES | {"switch": SwitchWithServerLag}
"""The model of each command's arguments in a simulation."""

STORED_COMMAND_BODIES: dict[str, type[CommandBody]] = SIMULATED_COMMAND_BODIES | {
    "pause": StoredPauseBody,
    "resume": StoredResumeBody,
    "undo": StoredUndoBody,
    "reopen": StoredReopenBody,
    "amend": StoredAmendBody,
}
"""The model of each command's arguments in the audit. These models include members that the server adds."""
