"""REST put together: all operations in one table, behind one door, beside the sockets and the static pages."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from starlette.routing import BaseRoute, Mount, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Lifespan

from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.participant_sessions.pages import ParticipantSessions
from synckairos.history.reader import HistoryReader
from synckairos.history.time_report import TimeReport
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.archives import ArchiveRoutes
from synckairos.http.caller_identity import CallerIdentity
from synckairos.http.history import HistoryRoutes
from synckairos.http.live_tail import LiveTail, Watch
from synckairos.http.operations import Operation, OperationTable
from synckairos.http.rest_app import RestApp
from synckairos.http.session_list import SessionList
from synckairos.http.sessions import SessionRoutes
from synckairos.http.simulate import SimulateRoutes
from synckairos.http.system import SystemRoutes
from synckairos.http.webhooks import WebhookRoutes
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.store.sessions import SessionStore
from synckairos.telemetry.metrics import ACTIVE_SESSIONS
from synckairos.webhooks.address_guard import AddressGuard
from synckairos.webhooks.registry import WebhookRegistry

DEMO = "/demo"


@dataclass(frozen=True, slots=True)
class RestDependencies:
    """What REST stands on, opened by whoever puts the server together."""

    sessions: Sessions
    store: SessionStore
    history: HistoryReader
    trail: AuditTrail
    participations: ParticipantSessions
    hours: TimeReport
    webhooks: WebhookRegistry
    limits: RateLimits
    settings: Settings


def build_application(
    parts: RestDependencies,
    *,
    origins: AllowedOrigins | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    lifespan: "Lifespan[Router] | None" = None,
    is_draining: Callable[[], bool] = lambda: False,
    watch: Watch | None = None,
    before_scrape: Sequence[Callable[[], Awaitable[None]]] = (),
) -> RestApp:
    """Make the ASGI application.

    `extra_routes` are WebSocket routes, `is_draining` makes `/ready` say no, `watch` wakes live tails (without it they
    look every second), `before_scrape` refreshes gauges before `/metrics` is rendered. `origins` is shared with the
    WebSocket door, whose upgrades ask `origins.admits(scope)`.
    """
    settings = parts.settings

    async def count_live() -> None:
        ACTIVE_SESSIONS.set(await parts.store.live_count())

    system = SystemRoutes(parts.sessions, parts.history.is_reachable, is_draining, (count_live, *before_scrape))
    operations: list[Operation] = [
        *SessionRoutes(parts.sessions, settings.rate_limit_switch).operations(),
        *HistoryRoutes(
            parts.sessions,
            parts.history,
            SessionList(parts.sessions, parts.store, parts.history),
            parts.trail,
            LiveTail(parts.trail, is_draining, watch),
            parts.participations,
            parts.hours,
            parts.limits,
        ).operations(),
        *WebhookRoutes(parts.webhooks, AddressGuard.from_settings(settings), parts.limits).operations(),
        *ArchiveRoutes(parts.sessions, parts.history, parts.limits, settings).operations(),
        *SimulateRoutes(parts.store, parts.limits).operations(),
        *system.operations(),
    ]
    system.describe(operations)
    static = [Mount(DEMO, StaticFiles(directory=demo_dir(), html=True))] if demo_dir().is_dir() else []
    return RestApp(
        OperationTable(operations),
        parts.limits,
        origins or AllowedOrigins.of(settings),
        CallerIdentity(settings.trusted_proxies),
        settings,
        beyond=Router([*extra_routes, *static], lifespan=lifespan, redirect_slashes=True),
        beyond_paths=[DEMO] if static else [],
    )


def demo_dir() -> Path:
    """Return where the demo's files are."""
    return Path(str(resources.files("synckairos.http").joinpath("static", "demo")))
