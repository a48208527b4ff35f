"""Rights of watchers to a session, checked again when an update of the session changes its labels."""

from collections.abc import Awaitable, Callable

from synckairos.errors import StoreUnavailable
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.watcher_interface import Subscription


class RightsAfterUpdate:
    """Ends the subscriptions whose client loses its role on a session by an update of the session's labels."""

    def __init__(
        self,
        spawn_task: Callable[[Awaitable[None]], None],
        activate_subscription: Callable[[Subscription, SessionUpdate | None], None],
    ) -> None:
        """Save the methods `spawn_request_task` and `activate_subscription` of the hub."""
        self._spawn_task = spawn_task
        self._activate_subscription = activate_subscription

    def end_without_right(
        self, subscriptions: tuple[Subscription, ...], update: SessionUpdate
    ) -> tuple[Subscription, ...]:
        """End the subscriptions whose client loses its role by the labels of an update.

        Return the subscriptions that get the update now. If the member rows that decide about a client are unknown, the
        update waits in the backlog of its subscription until a task has read the rows.
        """
        kept = []
        for subscription in subscriptions:
            principal = subscription.watcher.principal
            if (
                principal.role == "admin"
                and principal.narrowing is None
                and subscription.only == subscription.requested_row
            ):
                kept.append(subscription)  # no label changes its rights, and the check takes 2 µs a watcher
                continue
            try:
                role = update.role_of(principal)
            except StoreUnavailable:
                self._check_later(subscription, update)
                continue
            if role is None:
                subscription.watcher.end_without_right(subscription)
            else:
                subscription.limit_rows(update)
                kept.append(subscription)
        return tuple(kept)

    def _check_later(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Keep the updates of a subscription back until the member rows that decide about it were read."""
        is_active = subscription.backlog is None
        subscription.backlog = [*(subscription.backlog or ()), update]
        self._spawn_task(self._check(subscription, is_active))

    async def _check(self, subscription: Subscription, is_active: bool) -> None:
        watcher = subscription.watcher
        if watcher.principal.members is not None:
            await watcher.principal.members.load()
        if watcher.subscriptions.get(subscription.session_id) is not subscription or not subscription.backlog:
            return
        newest = subscription.backlog[-1]
        try:
            role = newest.role_of(watcher.principal)
        except StoreUnavailable:
            watcher.end_undecided(subscription)
            return
        if role is None:
            watcher.end_without_right(subscription)
        elif is_active:
            subscription.limit_rows(newest)
            self._activate_subscription(subscription, subscription.notified)
