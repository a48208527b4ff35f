"""Coverage of a batch by charges: after which version of a session a batch has the charges of all versions. Pure."""

from dataclasses import dataclass
from uuid import UUID

from synckairos.clock.transition import EventType

SessionKey = tuple[str, UUID]
"""The tenant and the id of a session."""


@dataclass(slots=True)
class _Run:
    """Consecutive versions of one session whose charges are known, up to `version` of `epoch`.

    `after_epoch` and `after_version` name the version before them. `begins_session`: whether no version is before them.
    """

    after_epoch: str | None
    after_version: int
    epoch: str
    version: int
    begins_session: bool = False


class ChargeCoverage:
    """The coverage of each session of one batch. Add the versions in the order of their commits.

    The writer of the batch compares the coverage with `charged_epoch` and `charged_version` of `sync_sessions`. So the
    writer finds each version whose charges no drain has written.
    """

    def __init__(self) -> None:
        self._runs: dict[SessionKey, _Run | None] = {}

    def add_version(self, session: SessionKey, epoch: str, version: int, event_type: str, *, is_charged: bool) -> None:
        """Add a version of the batch. `is_charged` must be True only if the batch has the charges of this version."""
        run = self._runs.get(session)
        is_recovered = event_type == EventType.SESSION_RECOVERED
        if not is_charged:
            self._runs[session] = None
        elif event_type in (EventType.SESSION_CREATED, EventType.SESSION_RECORDED):
            self._runs[session] = _Run(epoch, version, epoch, version, begins_session=True)
        elif session not in self._runs:
            self._runs[session] = _Run(None if is_recovered else epoch, version - 1, epoch, version)
        elif run is not None:
            follows = epoch == run.epoch and version == run.version + 1
            if follows or (is_recovered and version <= run.version + 1):
                run.epoch, run.version = epoch, version
            else:
                self._runs[session] = None

    def find_version_before(self, session: SessionKey, epoch: str, version: int) -> tuple[str | None, int] | None:
        """Return the version after which the batch has all charges up to `version` of `epoch`.

        - The same epoch and version: the batch has all charges of the session.
        - An earlier version: the batch has the charges of all versions after it.
        - None and a version: the batch begins with a recovery from this version, in an epoch that the batch does not
          name.

        Return None if the batch lacks the charges of one of its versions.
        """
        run = self._runs.get(session)
        if run is None or (run.epoch, run.version) != (epoch, version):
            return None
        return (epoch, version) if run.begins_session else (run.after_epoch, run.after_version)
