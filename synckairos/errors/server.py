"""Failures of the server, of its stores and of the keys that verify tokens."""

from synckairos.errors.base import SyncKairosError


class StoreUnavailable(SyncKairosError):
    """Redis does not answer, or Postgres does not answer a request that needs Postgres.

    After this error the outcome of a command is unknown. Retry the command with the same Idempotency-Key. `setting` is
    the variable with the URL of the store, None if the store was reached. `remedy` is the action for an operator if the
    store was not reached. `address` is the URL of the store without secrets, None if `setting` has the URL.
    """

    code = "STORE_UNAVAILABLE"
    status = 503
    retry_after_s = 1
    remedy = "start the store, or correct the setting (`synckairos doctor` checks both)"

    def __init__(
        self,
        message: str = "The store is not reachable; try again shortly",
        *,
        setting: str | None = None,
        address: str | None = None,
    ) -> None:
        super().__init__(message)
        self.setting = setting
        self.address = address


class DatabaseNotMigrated(StoreUnavailable):
    """The database lacks tables or columns of this release, so the request fails until an operator migrates it.

    `reason` is the text of the error of Postgres, None without such an error.
    """

    def __init__(self, reason: str | None = None) -> None:
        suffix = "" if reason is None else f" ({reason})"
        super().__init__(f"The database is not up to date: run `synckairos migrate`{suffix}")


class KeysUnavailable(SyncKairosError):
    """Keys that verify tokens are missing on this instance.

    An issuer's keys were not fetched yet, or the last fetch is more than 24 hours ago, or the signing keys of tenants
    were not read from Postgres yet. Tokens that need these keys can be neither accepted nor refused. The caller can
    retry the request.
    """

    code = "KEYS_UNAVAILABLE"
    status = 503
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("The keys that verify tokens cannot be fetched at the moment; try again shortly")


class StoreRefused(StoreUnavailable):
    """The store answers but refuses the operation: the user lacks a privilege, or the database accepts no writes.

    The message of the error is the message of the store.
    """

    remedy = "connect as a user with this privilege to a database that accepts writes"


class InvalidStoredData(StoreUnavailable):
    """The stored data that a request needs is invalid. The log names the key. Requests for other data are not affected.

    A retry succeeds only after the operator has repaired or removed the data.
    """

    retry_after_s = 30

    def __init__(self) -> None:
        super().__init__("The stored data of this request is invalid; the operator must repair it")


class OutboxFull(StoreUnavailable):
    """The commit was refused because the outbox is full. `bound` names the limit: entries, bytes, age or tenant.

    `tenant` means that the versions of the tenant have reached its part of the outbox (the limit `outbox_share`).

    Overdue transitions are still committed. The command was not decided, and no idempotency record was saved. The same
    command can succeed after a drain of the outbox.
    """

    retry_after_s = 5

    def __init__(self, bound: str) -> None:
        reached = f"the outbox has reached its limit of {bound}"
        if bound == "tenant":
            reached = "the versions in the outbox have reached the limit outbox_share of the tenant"
        super().__init__(
            f"The audit is too far behind ({reached}), so changes are refused until it catches up; try again later"
        )
        self.bound = bound


class StoreMisconfigured(SyncKairosError):
    """The store was created with other settings, or it is unsafe to write to. The process refuses to start."""

    code = "STORE_MISMATCH"


class StoreMoved(StoreMisconfigured):
    """The store has moved to another Redis. `record` is the field `moved` of its settings (`store/move_record.py`)."""

    def __init__(self, message: str, record: bytes) -> None:
        super().__init__(message)
        self.record = record


class PortTaken(SyncKairosError):
    """Another process listens on the port. The server does not start."""

    code = "PORT_TAKEN"

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is taken; choose another with --port, or --port 0 for a free one")
        self.port = port
