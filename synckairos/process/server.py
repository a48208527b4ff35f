"""The server process: opens stores and components in order, serves requests, and closes them in reverse order.

This module is the composition root of an instance. It only creates components and passes dependencies to them.
"""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from starlette.routing import WebSocketRoute

from synckairos.access_log.recorder import AccessRecorder
from synckairos.access_log.table import AccessTable
from synckairos.audit.backlog_log import BacklogLog
from synckairos.audit.drain_wakeups import DrainWakeupSender, make_arq_queue_outage
from synckairos.background.lost_versions import LostVersionCheck
from synckairos.background.recovery import RecoveryLoop
from synckairos.background.timekeeper import Timekeeper
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.cache import ParticipantSessionCache
from synckairos.history.participant_sessions.pages import ParticipantSessions
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.history.time_report import TimeReporter
from synckairos.http import assembly as http
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.client_address import CallerResolver
from synckairos.identity.authenticator import Authenticator
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.metrics import JobGauges
from synckairos.jobs.table import JobTable
from synckairos.jobs.wakeups import JobWakeups
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.members.holder_rights import HolderRights
from synckairos.members.member_cache import MemberCache
from synckairos.members.member_changes import MemberChanges
from synckairos.members.requested_reconciliations import RequestedReconciliations
from synckairos.members.table import MemberTable
from synckairos.postgres.tenant_roles import require_roles
from synckairos.process.compositions import Composition, Compositions
from synckairos.process.interpreter_tuning import tune_gc, tune_thread_switches
from synckairos.process.moved_store import wait_for_move
from synckairos.process.process_group import ProcessGroup
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.endpoint import WebSocketEndpoint
from synckairos.realtime.event_stream_endpoint import EventStreamEndpoint
from synckairos.realtime.handshake_authentication import HandshakeAuthentication
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import PresenceTracker
from synckairos.realtime.sign_in import SignIns
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.revocations.table import RevocationTable
from synckairos.server.uvicorn_server import Server, listen, raise_open_file_limit
from synckairos.service.assembly import build_session_service
from synckairos.service.background_jobs import BackgroundJobs
from synckairos.service.set_aside_entries import SetAsideEntries
from synckairos.signing_keys.active_keys import ActiveSigningKeys
from synckairos.signing_keys.table import SigningKeyTable
from synckairos.store.connect import check_store_settings, make_pipe, make_redis_client
from synckairos.store.control_store import ControlStore
from synckairos.store.deadlines import Deadlines
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.feed import Feed
from synckairos.store.history_format import HistoryFormatChoice
from synckairos.store.keys import Keys
from synckairos.store.member_copies import MemberCopies
from synckairos.store.metrics import RedisGauges
from synckairos.store.participant_sessions import ParticipantSessionStore
from synckairos.store.presence import PresenceStore
from synckairos.store.rate_limits import RateLimits
from synckairos.store.read_cache import ReadCache
from synckairos.store.running_releases import RunningReleases
from synckairos.store.session_index_rebuild import SessionIndexRebuilder
from synckairos.store.stream_channels import StreamChannels
from synckairos.store.tickets import TicketStore
from synckairos.stored_credentials.redemption import LinkRedeemer
from synckairos.stored_credentials.table import CredentialTable
from synckairos.stored_credentials.verifier import CredentialVerifier
from synckairos.telemetry import log
from synckairos.telemetry.guarded_loop import keep_running
from synckairos.telemetry.metrics import set_build_info
from synckairos.telemetry.outages import StoreOutage
from synckairos.telemetry.tracing import tracing
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.operator_keys import OperatorNetworks
from synckairos.tenants.table import TenantTable
from synckairos.webhooks.metrics import WebhookGauges
from synckairos.webhooks.registry import WebhookRegistry

logger = log.get_logger(__name__)

_REDIS_EFFECT = "requests get a 503 until it is back; sockets stay open, and running clocks lose no time"

_POSTGRES_EFFECT = (
    "live sessions, commands and sockets work, and the outbox keeps their versions; history, lists from Postgres, "
    "evicted sessions, webhook settings and changes of signing keys get a 503 until it is back"
)


async def serve(
    settings: Settings, *, on_ready: Callable[[str], None] | None = None, group: ProcessGroup | None = None
) -> None:
    """Serve requests until SIGTERM or SIGINT arrives, then drain and return.

    `on_ready` is called when the server accepts connections. Its argument is the base URL without a trailing slash.
    `group` is the group of processes that share the port, None for a process that has the port alone.

    Raises, before the server accepts connections:
        PortTaken: Another process listens on the port.
        BadSettings: The configured host or port cannot be used.
        StoreMisconfigured: The data in Redis belongs to other settings, Redis is unsafe to write to, or tokens are
            required and the login of Postgres may not use the roles that separate tenants.
        StoreUnavailable: Redis does not answer.
    """
    set_build_info("server")
    listener = listen(settings.host, settings.port, is_shared=group is not None)
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        await stack.enter_async_context(tracing(settings.trace_ratio, "server"))
        if group is not None:
            await stack.enter_async_context(group.join())

        def announce_ready(server: Server) -> None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            tune_gc()
            tune_thread_switches()
            logger.info("serving", host=settings.host, port=server.port)
            if on_ready is not None:
                on_ready(f"http://{host}:{server.port}{settings.root_path}")

        compositions = Compositions(lambda present, shared: _compose(present, shared, group))
        await compositions.run(settings, listener, announce_ready)
    logger.info("stopped")


@asynccontextmanager
async def _compose(
    settings: Settings, listener: socket.socket, group: ProcessGroup | None
) -> AsyncIterator[Composition]:
    """Open the stores and build all components. Yield the server and the background loops of the instance.

    The caller must run the server and the loops. The components are closed at the end of the block.
    """
    retired_keys = RetiredKeys(max_credential_life_s=settings.jwt_max_ttl)
    verifier = None if settings.auth == "none" else TokenVerifier.from_settings(settings, retired_keys)
    keys = Keys(settings.key_prefix, settings.partitions)
    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(
            make_pipe(settings.redis_url, settings.redis_timeout_s, move_key=keys.fixed_settings)
        )
        keys = await check_store_settings(pipe, keys)
        # Set the outage log after the first connection. If the first connection fails, the process ends with an error
        # and needs no message about an outage.
        pipe.outage = StoreOutage("redis", "REDIS_URL", _REDIS_EFFECT)
        at_queue = pipe.outage if settings.queue_redis_url == settings.redis_url else make_arq_queue_outage()
        redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
        stack.push_async_callback(redis.aclose)
        pool = open_history_pool(settings)
        pool.outage = StoreOutage("postgres", "DATABASE_URL", _POSTGRES_EFFECT)
        await stack.enter_async_context(pool)
        if settings.auth == "required":
            await require_roles(pool)
        history, webhooks = HistoryReader(pool, ColdStorage(settings.archive_url)), WebhookRegistry(pool)
        wakeups = DrainWakeupSender(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s, at_queue)
        wakeups.start_sending()
        stack.push_async_callback(wakeups.close)

        work = ClientWorkLimits(settings.client_work_factor)
        member_table, member_copies = MemberTable(pool), MemberCopies(pipe, keys)
        credential_table = CredentialTable(pool)
        reserved_labels = (member_table, credential_table)
        service = build_session_service(settings, pipe, keys, history, wakeups.request_drain, work, reserved_labels)
        sessions, outbox = service.sessions, service.outbox
        stack.push_async_callback(sessions.wait_for_shielded_commands)
        history_formats = HistoryFormatChoice(pipe, keys, service.store.history_format)
        if settings.stores_changes:
            with contextlib.suppress(StoreUnavailable):  # until Redis answers, earlier releases can read the history
                await history_formats.choose()
        feed = Feed(redis, pipe, keys, session_ttl_s=settings.session_ttl_s, known=service.store.known)
        await feed.subscriber.measure_time()
        deadlines = Deadlines(pipe, redis, keys, feed.subscriber)
        timekeeper = Timekeeper(sessions, deadlines, settings.partitions)
        presence = PresenceTracker(PresenceStore(pipe, feed.subscriber, keys), feed.server_time)
        control_channel, signing_keys, tenants, credential_verifier, members = None, None, None, None, None
        signing_key_table, tenant_table = SigningKeyTable(pool), TenantTable(pool)
        if verifier is not None:
            control_channel = ControlChannel(
                ControlStore(pipe, keys),
                RevocationTable(pool),
                feed.subscriber,
                feed.server_time.now_ms,
                max_credential_life_s=settings.jwt_max_ttl,
            )
            signing_keys = ActiveSigningKeys(signing_key_table, control_channel, retired_keys)
            verifier.use_tenant_keys(signing_keys)
            tenants = ActiveTenants(
                tenant_table, control_channel, requires_registration=settings.tenants == "registered"
            )
            credential_verifier = CredentialVerifier(credential_table, control_channel)
            members = MemberCache(member_table, member_copies, control_channel)
            with contextlib.suppress(StoreUnavailable):  # until the entries are loaded, no credential is accepted
                await control_channel.load()
            work.tenants.use_limits(tenants.limits_of)
            service.store.use_tenants(work.tenants)
            await tenants.refresh()  # after a failure, tokens of other tenants than the default tenant get a 503
            await signing_keys.refresh()  # after a failure, tokens that could need a signing key get a 503
        credential_ends = CredentialEnds(
            feed.server_time.now_ms, control_channel, retired_keys, tenants, max_age_s=settings.ws_max_age
        )
        holder_rights = None if members is None else HolderRights(members, credential_ends)
        hub = Hub(
            feed,
            sessions.read_as_server,
            sessions.find_role,
            presence,
            work,
            max_connections=raise_open_file_limit(settings.ws_max_connections),
            max_per_address=settings.ws_max_connections_per_address,
            credential_ends=credential_ends,
        )
        origins, callers = AllowedOrigins.from_settings(settings), CallerResolver(settings.trusted_proxies)
        if tenants is not None:
            origins.use_tenants(tenants)
        rate_limits = RateLimits(pipe, keys)
        commands = CommandHandler(sessions, rate_limits, work.tenants, settings)
        access_table = AccessTable(pool)
        access_recorder = AccessRecorder(access_table, hub.now_ms)
        authenticator = (
            None
            if verifier is None or credential_verifier is None or members is None
            else Authenticator(
                verifier,
                credential_verifier,
                now_ms=hub.now_ms,
                address_for=callers.address_for,
                is_secure=lambda scope: settings.insecure or callers.is_secure(scope),
                work=work,
                refuse_ended=credential_ends.require_not_revoked,
                find_members=members.find_members,
            )
        )
        link_redeemer = (
            None
            if credential_verifier is None
            else LinkRedeemer(
                credential_verifier,
                now_ms=hub.now_ms,
                work=work,
                refuse_ended=credential_ends.require_not_revoked,
                tenants=tenants,
            )
        )
        operator_networks = OperatorNetworks(settings.operator_networks, callers.complete_address_for)
        tickets = None if authenticator is None else TicketStore(pipe, keys)
        sign_ins = SignIns(authenticator)
        handshakes = HandshakeAuthentication(
            hub,
            principal_for=callers.principal_for,
            authenticator=authenticator,
            sign_ins=sign_ins,
            tickets=tickets,
            allows_tenant=origins.allows_tenant,
        )
        endpoint = WebSocketEndpoint(
            hub,
            commands,
            allows_origin=origins.allows_request,
            handshakes=handshakes,
            sign_ins=sign_ins,
            record_refusal=access_recorder.record_refusal,
        )
        job_wakeups = JobWakeups(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s, at_queue)
        stack.push_async_callback(job_wakeups.close)
        job_table = JobTable(pool)
        job_queue = JobQueue(job_table, job_wakeups)
        reconciliations = None if verifier is None else RequestedReconciliations(job_table, job_queue)
        stream_channels = StreamChannels(pipe, feed.subscriber, keys)
        event_streams = EventStreamEndpoint(
            hub,
            commands,
            stream_channels,
            allows_origin=origins.allows_request,
            handshakes=handshakes,
            sign_ins=sign_ins,
        )
        stack.push_async_callback(_flush_access_log, access_recorder)
        read_cache, backlog_log = ReadCache(pipe, keys), BacklogLog()

        async def refresh_backlog() -> None:
            backlog_log.report_backlog(await outbox.measure_backlog())

        application = http.build_application(
            http.RestDependencies(
                sessions=sessions,
                store=service.store,
                history=history,
                audit_trail=AuditTrail(history, outbox, read_cache),
                participant_sessions=ParticipantSessions(
                    history, outbox, ParticipantSessionCache(ParticipantSessionStore(pipe, keys), history), read_cache
                ),
                time_report=TimeReporter(history, outbox),
                webhooks=webhooks,
                access_table=access_table,
                signing_key_table=signing_key_table,
                tenant_table=tenant_table,
                credential_table=credential_table,
                member_table=member_table,
                background_jobs=BackgroundJobs(job_table, job_queue),
                set_aside_entries=SetAsideEntries(FailedEntries(pipe, keys)),
                rate_limits=rate_limits,
                work=work,
                settings=settings,
            ),
            origins=origins,
            caller_identity=callers,
            websocket_routes=[WebSocketRoute("/{path:path}", endpoint)],
            is_draining=lambda: hub.is_draining,
            commit_signals=hub.subscribe_change_event,
            connections=hub,
            control_channel=control_channel,
            member_changes=(
                None if control_channel is None else MemberChanges(member_table, member_copies, control_channel)
            ),
            authenticator=authenticator,
            verifier=verifier,
            signing_keys=signing_keys,
            tenants=tenants,
            operator_networks=operator_networks,
            credential_ends=credential_ends,
            event_streams=event_streams,
            frame_channels=stream_channels,
            tickets=tickets,
            link_redeemer=link_redeemer,
            reconciliations=reconciliations,
            access_recorder=None if settings.auth == "none" else access_recorder,
            render_metrics=None if group is None else group.render_metrics,
            refresh_gauges=[
                refresh_backlog,
                RedisGauges(pipe).refresh,
                JobGauges(JobTable(pool)).refresh,
                WebhookGauges(webhooks).refresh,
            ],
        )
        recovery = RecoveryLoop(sessions, history, service.generations, SessionIndexRebuilder(pipe, keys), keys)
        yield Composition(
            Server(application, settings, hub, listener),
            [
                keep_running("hub", hub.run_background_loops),
                keep_running("timekeeper", timekeeper.run),
                keep_running("recovery", recovery.run),
                keep_running("lost versions", LostVersionCheck(sessions, pipe).run),
                keep_running("release", partial(RunningReleases(pipe, keys).announce_until_cancelled, "server")),
                *([keep_running("history format", history_formats.run)] if settings.stores_changes else []),
                keep_running("access log", access_recorder.run),
                *([] if control_channel is None else [keep_running("revocations", control_channel.run)]),
                *([] if credential_verifier is None else [keep_running("stored credentials", credential_verifier.run)]),
                *([] if signing_keys is None else [keep_running("signing keys", signing_keys.run)]),
                *([] if tenants is None else [keep_running("tenants", tenants.run)]),
                *([] if members is None else [keep_running("members", members.run)]),
                *([] if holder_rights is None else [keep_running("rights of sockets", holder_rights.run)]),
                *(
                    [keep_running("keys of issuers", verifier.run_background_loop)]
                    if verifier and settings.jwks
                    else []
                ),
            ],
            partial(wait_for_move, pipe, keys),
        )


async def _flush_access_log(recorder: AccessRecorder) -> None:
    with contextlib.suppress(StoreUnavailable):  # the shutdown must not wait for a store that is away
        await recorder.flush()
