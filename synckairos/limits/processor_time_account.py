"""The account of one client: the processor time that it used on this instance, and its requests that run or wait.

Each charge to a client of a tenant also counts for the share of the tenant (`tenant_share.py`).
"""

import asyncio
from collections.abc import Callable

from synckairos.limits.step_meter import StepMeter
from synckairos.limits.tenant_share import TenantShare
from synckairos.limits.used_time import UsedTime
from synckairos.limits.work_limits import WorkLimit

LITTLE_USE_S = 0.002
"""Seconds of recently used processor time up to which the requests of a client do not pause for presses."""

REFUSAL_INTERVAL_S = 0.01
"""Seconds between two refusals to one rate-limited client. Without this interval, its refusals would leave together."""

MAX_RUNNING = 8
"""Requests of a client that run at the same time while other clients are active. Further requests wait.

A turn of the event loop runs a part of each running request. So this bounds the time that a turn takes.
"""


class ProcessorTimeAccount(UsedTime):
    """The processor time that one client used, and the requests of the client that wait."""

    __slots__ = ("client", "mean_s", "queries", "steps", "tenant", "turns", "waiting")

    def __init__(
        self,
        limit: WorkLimit,
        clock: Callable[[], float],
        steps: StepMeter,
        tenant: TenantShare | None = None,
        client: str = "",
    ) -> None:
        """Create an account of the client with the id `client`, without charges.

        `limit` is the limit of processor time. `clock` returns monotonic seconds. `steps` measures the client's steps.
        `tenant` is the share of the client's tenant, None if the client has no credential.
        """
        super().__init__(
            limit,
            clock,
            max_running=MAX_RUNNING,
            little_use_s=LITTLE_USE_S,
            refusal_interval_s=REFUSAL_INTERVAL_S,
        )
        self.steps = steps
        self.tenant = tenant
        self.client = client
        self.queries: asyncio.Semaphore | None = None
        """The places of the queries in Postgres. None before the first query."""
        self.mean_s = 0.0
        """Mean processor time of the client's recent requests, in seconds."""
        self.turns: asyncio.Lock | None = None
        """The lock for which the waiting requests wait. None if no request waits."""
        self.waiting = 0
        """The number of requests that wait."""

    def charge(self, seconds: float) -> None:
        """Charge processor time to the client and to its tenant. Negative seconds undo a charge."""
        super().charge(seconds)
        if self.tenant is not None:
            self.tenant.charge(seconds)

    def charge_client(self, seconds: float) -> None:
        """Charge processor time to the client alone. Negative seconds undo a charge."""
        super().charge(seconds)

    @property
    def has_much_use(self) -> bool:
        """Return whether the client, or its tenant beside other tenants, recently used much processor time.

        Its steps then wait for presses.
        """
        return super().has_much_use or (self.tenant is not None and self.tenant.has_much_use)

    def must_wait(self) -> bool:
        """Return whether a new request must wait, because the client or its tenant uses its share or all its places."""
        return (
            self.turns is not None
            or self.running >= self.max_running
            or self.seconds_to_wait() > 0
            or (self.tenant is not None and self.tenant.must_wait())
        )

    def enter_place(self) -> None:
        """Count that a request begins, or continues after a wait that used no processor time."""
        super().enter_place()
        if self.tenant is not None:
            self.tenant.enter_place()

    def leave_place(self) -> None:
        """Count that a request has ended, or begins a wait that uses no processor time."""
        super().leave_place()
        if self.tenant is not None:
            self.tenant.leave_place()
