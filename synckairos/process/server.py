"""The composition root of a server: opens everything in order, serves, and closes it the other way round.

The whole service on one page. Decides nothing; every part is told here what it stands on.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.routing import WebSocketRoute

from synckairos.audit.arq_wakeups import DrainWakeups
from synckairos.audit.lag_alerts import LagAlerts
from synckairos.background.recovery import RecoveryLoop
from synckairos.background.timekeeper import Timekeeper
from synckairos.clock.recovery import OutagePolicy
from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.cache import ParticipantSessionCache
from synckairos.history.participant_sessions.pages import ParticipantSessions
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.history.time_report import TimeReport
from synckairos.http import assembly as http
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.caller_identity import CallerIdentity
from synckairos.jobs.metrics import JobGauges
from synckairos.jobs.table import JobTable
from synckairos.process.gc_tuning import tune_gc
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.endpoint import WebSocketEndpoint
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import PresenceTracker
from synckairos.server.uvicorn_server import Server, listen, raise_open_file_limit
from synckairos.service.past_versions import PastVersions
from synckairos.service.restore import SessionRestorer
from synckairos.service.sessions import Sessions
from synckairos.store.connect import open_redis, open_store
from synckairos.store.deadlines import Deadlines
from synckairos.store.feed import Feed
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.participant_sessions import ParticipantSessionStore
from synckairos.store.presence import PresenceStore
from synckairos.store.rate_limits import RateLimits
from synckairos.store.read_cache import ReadCache
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.store_generation import Generations
from synckairos.telemetry import log
from synckairos.webhooks.metrics import WebhookGauges
from synckairos.webhooks.registry import WebhookRegistry

logger = log.get_logger(__name__)

Job = Coroutine[Any, Any, None]


async def serve(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; `on_ready` gets the base URL, without a trailing slash.

    Raises:
        PortTaken: somebody else listens there.
        StoreMismatch, StoreUnavailable: Redis isn't safe to write to, or doesn't answer.
    """
    listener = listen(settings.host, settings.port)
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        server, jobs = await stack.enter_async_context(_compose(settings, listener))

        def ready() -> None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            tune_gc()
            logger.info("serving", host=settings.host, port=server.port)
            if on_ready is not None:
                on_ready(f"http://{host}:{server.port}")

        with _stopping_by_signal(server):
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(job) for job in jobs]
                await server.run_until_stopped(on_ready=ready)
                for task in background:
                    task.cancel()
    logger.info("stopped")


@asynccontextmanager
async def _compose(settings: Settings, listener: socket.socket) -> AsyncIterator[tuple[Server, list[Job]]]:
    """Open the stores and put the parts together: the server, and what runs beside it."""
    keys = Keys(settings.key_prefix, settings.partitions)
    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(RedisPipe(settings.redis_url, settings.redis_timeout_s))
        await open_store(pipe, keys)
        redis = open_redis(settings.redis_url, settings.redis_timeout_s)
        stack.push_async_callback(redis.aclose)
        pool = await stack.enter_async_context(open_history_pool(settings))
        history, webhooks = HistoryReader(pool, ColdStorage(settings.archive_url)), WebhookRegistry(pool)
        wakeups = DrainWakeups(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s)
        wakeups.start()
        stack.push_async_callback(wakeups.close)

        bounds = OutboxLimits.of(settings)
        store, outbox = SessionStore(pipe, keys, settings.history_length, bounds), Outbox(pipe, keys, bounds)
        generations = Generations(pipe, keys)
        policy = OutagePolicy.parse(settings.outage_policy)
        restorer = SessionRestorer(store, history, generations, session_ttl_s=settings.session_ttl_s, policy=policy)
        sessions = Sessions(store, PastVersions(store, outbox, history), restorer, generations, wakeups.wake_up)
        stack.push_async_callback(sessions.drain)
        timekeeper = Timekeeper(sessions, Deadlines(pipe, redis, keys), settings.partitions)

        feed = Feed(redis, pipe, keys, session_ttl_s=settings.session_ttl_s)
        presence = PresenceTracker(PresenceStore(pipe, feed.subscriber, keys), feed.server_time)
        hub = Hub(
            feed,
            sessions.read,
            presence,
            max_connections=raise_open_file_limit(settings.ws_max_connections),
            max_per_address=settings.ws_max_connections_per_address,
        )
        origins, callers = AllowedOrigins.from_settings(settings), CallerIdentity(settings.trusted_proxies)
        commands = CommandHandler(sessions, settings)
        endpoint = WebSocketEndpoint(hub, commands, allows_origin=origins.admits, principal_for=callers.principal_for)
        aside, lag = ReadCache(pipe, keys), LagAlerts()

        async def show_backlog() -> None:
            lag.observe(await outbox.backlog())

        application = http.build_application(
            http.RestDependencies(
                sessions=sessions,
                store=store,
                history=history,
                audit_trail=AuditTrail(history, outbox, aside),
                participant_sessions=ParticipantSessions(
                    history, outbox, ParticipantSessionCache(ParticipantSessionStore(pipe, keys), history), aside
                ),
                time_report=TimeReport(history, outbox),
                webhooks=webhooks,
                rate_limits=RateLimits(pipe, keys),
                settings=settings,
            ),
            origins=origins,
            websocket_routes=[WebSocketRoute("/{path:path}", endpoint)],
            is_draining=lambda: hub.is_draining,
            commit_signals=hub.change_event,
            refresh_gauges=[show_backlog, JobGauges(JobTable(pool)).refresh, WebhookGauges(webhooks).refresh],
        )
        recovery = RecoveryLoop(sessions, history, generations, keys)
        yield Server(application, settings, hub, listener), [hub.run(), timekeeper.run(), recovery.run()]


@contextlib.contextmanager
def _stopping_by_signal(server: Server) -> Iterator[None]:
    """Let SIGTERM and SIGINT begin the drain; a second one cuts everybody at once."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, server.stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
