"""Construction of the ASGI application of an instance from REST operations, WebSocket routes and the demo page."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute, Mount, Router
from starlette.types import ASGIApp

from synckairos.access_log.recorder import AccessRecorder
from synckairos.access_log.table import AccessTable
from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.participant_sessions.pages import ParticipantSessions
from synckairos.history.reader import HistoryReader
from synckairos.history.time_report import TimeReporter
from synckairos.http.access_log import AccessRoutes
from synckairos.http.all_sessions_pages import SessionList
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.api_keys import ApiKeyRoutes
from synckairos.http.archives import ArchiveRoutes
from synckairos.http.background_jobs import BackgroundJobRoutes
from synckairos.http.client_address import CallerResolver
from synckairos.http.commands_to_many import CommandToManyRoutes
from synckairos.http.documentation.documentation_dir import documentation_dir
from synckairos.http.documentation.files import DocumentationFiles
from synckairos.http.documentation.navigation import API_PAGE
from synckairos.http.documentation.site import DocumentationSite
from synckairos.http.event_streams import EventStreamRoutes, EventStreams, FrameChannels
from synckairos.http.history import HistoryRoutes
from synckairos.http.links import LinkRoutes
from synckairos.http.live_tail import CommitSignals, ConnectionCounter, LiveEventStreams
from synckairos.http.member_reconciliations import MemberReconciliationRoutes
from synckairos.http.members import MemberRoutes
from synckairos.http.operations import Operation, OperationTable
from synckairos.http.own_credential import OwnCredentialRoutes
from synckairos.http.own_sessions import OwnSessionRoutes
from synckairos.http.page_files import PageFiles, page_folder
from synckairos.http.page_headers import build_page_headers
from synckairos.http.presets import PresetRoutes
from synckairos.http.qr_code import QrCodeRoutes
from synckairos.http.request_authentication import RequestAuthentication
from synckairos.http.rest_app import RestApp
from synckairos.http.revocations import RevocationRoutes
from synckairos.http.session_tokens import SessionTokenRoutes
from synckairos.http.sessions import SessionRoutes
from synckairos.http.signing_keys import SigningKeyRoutes
from synckairos.http.simulate import SimulateRoutes
from synckairos.http.sub_path import SubPathApp
from synckairos.http.system import SystemRoutes
from synckairos.http.tenants import TenantRoutes
from synckairos.http.tickets import TicketRoutes
from synckairos.http.time_reports import TimeReportRoutes
from synckairos.http.webhooks import WebhookRoutes
from synckairos.identity.authenticator import Authenticator
from synckairos.identity.metrics_token import MetricsToken
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.members.member_changes import MemberChanges
from synckairos.members.requested_reconciliations import RequestedReconciliations
from synckairos.members.table import MemberTable
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.service.background_jobs import BackgroundJobs
from synckairos.service.commands_to_many import CommandsToMany
from synckairos.service.sessions import Sessions
from synckairos.service.set_aside_entries import SetAsideEntries
from synckairos.signing_keys.active_keys import ActiveSigningKeys
from synckairos.signing_keys.table import SigningKeyTable
from synckairos.store.rate_limits import RateLimits
from synckairos.store.sessions import SessionStore
from synckairos.store.tickets import TicketStore
from synckairos.stored_credentials.redemption import LinkRedeemer
from synckairos.stored_credentials.table import CredentialTable
from synckairos.telemetry.metrics import ACTIVE_SESSIONS
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.operator_keys import OperatorNetworks
from synckairos.tenants.table import TenantTable
from synckairos.webhooks.address_guard import AddressGuard
from synckairos.webhooks.registry import WebhookRegistry

OTHER_PAGES = ("demo", "playground", "console")
"""Names of the pages that belong to no session. Each has a folder of static files, and a path `/{name}`."""

DOCUMENTATION = "docs"
"""Name of the folder of static files of the documentation, and of its path `/docs`."""

SESSION_PAGES = ("view", "control", "desk", "agenda")
"""Names of the pages of one session. Each has a folder of static files, and a path `/{name}/{session_id}`."""


@dataclass(frozen=True, slots=True)
class RestDependencies:
    """Services and stores that the REST operations use. The code that builds this object opens and closes them."""

    sessions: Sessions
    store: SessionStore
    history: HistoryReader
    audit_trail: AuditTrail
    participant_sessions: ParticipantSessions
    time_report: TimeReporter
    webhooks: WebhookRegistry
    access_table: AccessTable
    signing_key_table: SigningKeyTable
    tenant_table: TenantTable
    credential_table: CredentialTable
    member_table: MemberTable
    background_jobs: BackgroundJobs
    set_aside_entries: SetAsideEntries
    rate_limits: RateLimits
    work: ClientWorkLimits
    settings: Settings


def build_application(
    dependencies: RestDependencies,
    *,
    origins: AllowedOrigins | None = None,
    caller_identity: CallerResolver | None = None,
    websocket_routes: Sequence[BaseRoute] = (),
    is_draining: Callable[[], bool] = lambda: False,
    commit_signals: CommitSignals | None = None,
    connections: ConnectionCounter | None = None,
    refresh_gauges: Sequence[Callable[[], Awaitable[None]]] = (),
    access_recorder: AccessRecorder | None = None,
    control_channel: ControlChannel | None = None,
    member_changes: MemberChanges | None = None,
    authenticator: Authenticator | None = None,
    verifier: TokenVerifier | None = None,
    signing_keys: ActiveSigningKeys | None = None,
    tenants: ActiveTenants | None = None,
    operator_networks: OperatorNetworks | None = None,
    tickets: TicketStore | None = None,
    link_redeemer: LinkRedeemer | None = None,
    reconciliations: RequestedReconciliations | None = None,
    credential_ends: CredentialEnds | None = None,
    event_streams: EventStreams | None = None,
    frame_channels: FrameChannels | None = None,
    render_metrics: Callable[[], Awaitable[bytes]] | None = None,
) -> ASGIApp:
    """Build the ASGI application. If the settings have a sub-path, it serves each path with and without the sub-path.

    - `origins` and `caller_identity`: objects shared with the WebSocket endpoint. If None, built from the settings.
    - `websocket_routes`: routes for WebSocket scopes.
    - `is_draining`: if it returns True, `/ready` answers 503 and live tails end.
    - `commit_signals`: wakes a live tail after a commit. Without it, live tails poll every second.
    - `connections`: counts live tails as connections. Without it, only the tails of each client are limited.
    - `refresh_gauges`: functions that run before `/metrics` is rendered.
    - `control_channel`: the revocations. None while authentication is off.
    - `member_changes`: changes members. None while authentication is off.
    - `credential_ends`: ends streams together with their credentials. None while authentication is off.
    - `tickets`: the tickets for sockets. None while authentication is off.
    - `link_redeemer`: gives session tokens for links. None while authentication is off.
    - `reconciliations`: the reconciliations of members. None while authentication is off.
    - `authenticator`: authenticates callers. None while authentication is off.
    - `verifier` and `signing_keys`: the keys that verify tokens. None while authentication is off.
    - `tenants` and `operator_networks`: the tenants, and the networks of their operators. None while authentication is
      off.
    - `event_streams` and `frame_channels`: the fallback transport of v3 clients. Without them it answers 404.
    - `access_recorder`: gets administrative acts and refusals. None while authentication is off.
    - `render_metrics`: returns the metrics for `/metrics`. None for those of this process.
    """
    settings, root_path = dependencies.settings, dependencies.settings.root_path
    sessions, store, history = dependencies.sessions, dependencies.store, dependencies.history
    rate_limits = dependencies.rate_limits
    origins = origins or AllowedOrigins.from_settings(settings)
    callers = caller_identity or CallerResolver(settings.trusted_proxies)

    async def count_live_sessions() -> None:
        ACTIVE_SESSIONS.set(await store.live.count_unfinished_of_all_tenants())

    page_headers = build_page_headers(settings.frame_ancestors)
    site = DocumentationSite(documentation_dir(), root_path)
    system = SystemRoutes(
        sessions,
        history.find_schema_state,
        is_draining,
        (count_live_sessions, *refresh_gauges),
        dependencies.work,
        root_path,
        page_headers,
        api_page=site.render(API_PAGE),
        knows_revocations=lambda: control_channel is None or control_channel.is_current,
        has_tenants=lambda: tenants is not None and tenants.has_other_tenants,
        render_metrics=render_metrics,
    )
    session_list = SessionList(sessions, store, history)
    operations: list[Operation] = [
        *SessionRoutes(sessions, settings.rate_limit_switch).operations(),
        *CommandToManyRoutes(
            CommandsToMany(
                sessions,
                store,
                requests_per_min=settings.rate_limit_general,
                presses_per_s=settings.rate_limit_switch,
            ),
            session_list,
            rate_limits,
            dependencies.work,
        ).operations(),
        *HistoryRoutes(
            sessions,
            session_list,
            dependencies.audit_trail,
            LiveEventStreams(dependencies.audit_trail, is_draining, commit_signals, connections),
            dependencies.participant_sessions,
            rate_limits,
            dependencies.work,
        ).operations(),
        *TimeReportRoutes(sessions, history, dependencies.time_report, rate_limits, dependencies.work).operations(),
        *WebhookRoutes(dependencies.webhooks, AddressGuard.from_settings(settings), rate_limits).operations(),
        *AccessRoutes(dependencies.access_table, rate_limits).operations(),
        *ArchiveRoutes(sessions, history, rate_limits, settings).operations(),
        *OwnCredentialRoutes(
            sessions, None if authenticator is None else authenticator.now_ms, rate_limits
        ).operations(),
        *OwnSessionRoutes(session_list, rate_limits, dependencies.work).operations(),
        *EventStreamRoutes(event_streams, frame_channels, authenticator, dependencies.work).operations(),
        *TicketRoutes(sessions, tickets, rate_limits).operations(),
        *RevocationRoutes(dependencies.credential_table, control_channel, rate_limits).operations(),
        *ApiKeyRoutes(dependencies.credential_table, control_channel, rate_limits).operations(),
        *LinkRoutes(
            sessions,
            dependencies.credential_table,
            control_channel,
            link_redeemer,
            authenticator,
            callers,
            origins,
            rate_limits,
        ).operations(),
        *SessionTokenRoutes(dependencies.credential_table, control_channel, rate_limits).operations(),
        *MemberReconciliationRoutes(reconciliations, rate_limits).operations(),
        *MemberRoutes(dependencies.member_table, member_changes, rate_limits).operations(),
        *SigningKeyRoutes(dependencies.signing_key_table, signing_keys, verifier, rate_limits).operations(),
        *TenantRoutes(dependencies.tenant_table, tenants, rate_limits).operations(),
        *BackgroundJobRoutes(dependencies.background_jobs, dependencies.set_aside_entries, rate_limits).operations(),
        *SimulateRoutes(store, rate_limits, dependencies.work).operations(),
        *PresetRoutes().operations(),
        *QrCodeRoutes(origins, rate_limits, root_path).operations(),
        *system.operations(),
    ]
    system.set_openapi_operations(operations)
    static = [
        Mount(f"/{DOCUMENTATION}", DocumentationFiles(site, documentation_dir(), root_path, page_headers)),
        *(Mount(f"/{name}", PageFiles(page_folder(name), root_path, page_headers)) for name in OTHER_PAGES),
        *(
            Mount(
                f"/{name}",
                PageFiles(
                    page_folder(name),
                    root_path,
                    page_headers,
                    session_page=name,
                    index=None if name == "view" else page_folder("open_session") / "index.html",
                ),
            )
            for name in SESSION_PAGES
        ),
    ]
    rest = RestApp(
        OperationTable(operations),
        rate_limits,
        origins,
        RequestAuthentication(callers, authenticator, _metrics_token(settings, callers), operator_networks),
        dependencies.work,
        settings,
        access_recorder,
        credential_ends,
        fallback=Router([*websocket_routes, *static], redirect_slashes=True),
        fallback_prefixes=[f"/{name}" for name in (DOCUMENTATION, *OTHER_PAGES, *SESSION_PAGES)],
    )
    return SubPathApp(rest, root_path) if root_path else rest


def _metrics_token(settings: Settings, callers: CallerResolver) -> MetricsToken | None:
    if settings.metrics_token is None:
        return None
    return MetricsToken(
        settings.metrics_token.get_secret_value(), lambda scope: settings.insecure or callers.is_secure(scope)
    )
