"""Entries of the access log as values: administrative acts, and numbers of refusals."""

from typing import Literal

from msgspec import Struct

EntryKind = Literal["act", "refusal"]


class AdministrativeAct(Struct, frozen=True, kw_only=True):
    """One administrative act of a caller.

    - `at_ms`: instant of the answer, in ms since the Unix epoch, by the time of Redis.
    - `kind`, `subject`, `role`, `address`: the caller, as in `Principal`.
    - `action`: HTTP method and route, such as `DELETE /v1/webhooks/:wid`.
    - `target`: ids of the objects that the act concerns, separated by spaces. For a disconnection, the subject.
    - `status`: HTTP status of the answer.
    """

    tenant: str
    at_ms: int
    kind: str
    subject: str
    role: str
    address: str
    action: str
    target: str
    status: int


class RefusalTally(Struct, frozen=True, kw_only=True):
    """Number of requests from one address that were refused for one reason within one minute.

    `at_ms` is the start of the minute, in ms since the Unix epoch. `reason` is the code of the error. Claims of
    unverified credentials are not kept.
    """

    tenant: str
    at_ms: int
    address: str
    reason: str
    count: int


class AccessEntry(Struct, frozen=True, kw_only=True):
    """One row of the access log. Members that the kind of the entry does not have are None."""

    access_id: int
    entry: EntryKind
    at_ms: int
    kind: str | None
    subject: str | None
    role: str | None
    address: str
    action: str | None
    target: str | None
    status: int | None
    reason: str | None
    count: int
