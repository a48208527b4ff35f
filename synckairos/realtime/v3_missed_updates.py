"""The updates that a v3 client missed before its SUBSCRIBE, from the version history of the session."""

from synckairos.realtime.hub import Hub
from synckairos.realtime.session_update import SessionUpdate
from synckairos.wire import v3_messages


async def read_missed_updates(
    hub: Hub, session_name: str, request: v3_messages.Subscribe, current: SessionUpdate
) -> list[SessionUpdate] | None:
    """Return the updates from the client's version to the current version, both included, oldest first.

    `session_name` is the name of the session in its tenant. The client's version is the version that `request` names.
    Return None if no delta to this version is possible:

    - `request` names no version, another epoch than the current epoch, or a version above the current version.
    - At least one of the versions to return is not in the version history.
    - The version in the version history has another tag than the client's version. The store then lost the client's
      version and issued its number again.
    """
    if request.version is None or request.epoch != current.epoch or request.version > current.version:
        return None
    missed = (
        [current]
        if request.version == current.version
        else await _read_kept(hub, session_name, request.version, current)
    )
    if [each.version for each in missed] != [*range(request.version, current.version + 1)]:
        return None
    return missed if request.tag in (None, missed[0].snapshot.tag) else None


async def _read_kept(hub: Hub, session_name: str, version: int, current: SessionUpdate) -> list[SessionUpdate]:
    """Return the updates of the version history from `version` to `current`, oldest first.

    The list is shorter if the version history does not reach back to `version`.
    """
    kept: list[SessionUpdate] = []
    for each in await hub.read_stored_history(session_name, current):
        if each.epoch != current.epoch or each.version < version:
            break
        kept.insert(0, each)
    return kept
