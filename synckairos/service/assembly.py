"""Composition of the session service from the settings, the Redis connection and the history reader.

Used by the server process and by commands that change sessions. This module opens and closes no connection.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.history.reader import HistoryReader
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.service.label_rights import ReservedLabels
from synckairos.service.past_versions import PastVersionReader
from synckairos.service.restore import SessionRestorer
from synckairos.service.sessions import Sessions
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.store_generation import Generations


@dataclass(frozen=True, slots=True)
class SessionService:
    """The objects that read and change sessions: `sessions` and the parts of which it consists.

    Before the stores are closed, call `await service.sessions.wait_for_shielded_commands()`. It waits for the shielded
    commands that still run.
    """

    store: SessionStore
    outbox: Outbox
    generations: Generations
    restorer: SessionRestorer
    sessions: Sessions


def build_session_service(
    settings: Settings,
    pipe: RedisPipe,
    keys: Keys,
    history: HistoryReader,
    wake_up: Callable[[int], None],
    work: ClientWorkLimits,
    reserved_labels: Sequence[ReservedLabels] = (),
) -> SessionService:
    """Return the session service for an open Redis connection and an open history pool.

    `work` has the budgets of the clients of this process. After each commit of new versions, `wake_up` is called with
    the number of the partition. `wake_up` must not block. `reserved_labels` has the labels that only admins change.
    Processes whose only caller is an admin need none.
    """
    outbox_limits = OutboxLimits.from_settings(settings)
    store = SessionStore(pipe, keys, settings.history_length, outbox_limits, writes_changes=settings.stores_changes)
    outbox = Outbox(pipe, keys, outbox_limits, find_document=history.read_version_document)
    generations = Generations(pipe, keys)
    policy = OutageChargePolicy.parse(settings.outage_policy)
    restorer = SessionRestorer(store, history, generations, session_ttl_s=settings.session_ttl_s, policy=policy)
    past_versions = PastVersionReader(store, outbox, history)
    sessions = Sessions(
        store, past_versions, restorer, generations, wake_up, work, settings.clock_edition, reserved_labels
    )
    return SessionService(store, outbox, generations, restorer, sessions)
