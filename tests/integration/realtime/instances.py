"""Instances in the process of the test, on real stores, with helpers for WebSocket clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from websockets.asyncio.client import ClientConnection, connect

from synckairos.background.lost_versions import LostVersionCheck
from synckairos.clock.commands import Command, Create, Delete, NewParticipant, Start, Switch, UpdateMetadata
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.http.client_address import CallerResolver
from synckairos.http.event_streams import EventStreamRoutes
from synckairos.http.operations import OperationTable
from synckairos.http.request_authentication import RequestAuthentication
from synckairos.http.rest_app import RestApp
from synckairos.identity.authenticator import Authenticator
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.members.holder_rights import HolderRights
from synckairos.members.member_cache import MemberCache
from synckairos.members.member_changes import MemberChanges
from synckairos.members.table import MemberTable
from synckairos.principal import Principal
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.endpoint import WebSocketEndpoint
from synckairos.realtime.event_stream_endpoint import EventStreamEndpoint
from synckairos.realtime.handshake_authentication import HandshakeAuthentication
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import PresenceTracker
from synckairos.realtime.sign_in import SignIns
from synckairos.realtime.timings import RealtimeTimeLimits
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.revocations.table import RevocationTable
from synckairos.server.timings import ServerTimeLimits
from synckairos.server.uvicorn_server import USER_TIMEOUT_MS, Server, listen
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from synckairos.service.sessions import Sessions
from synckairos.signing_keys.active_keys import ActiveSigningKeys
from synckairos.signing_keys.table import SigningKeyTable
from synckairos.store.connect import make_redis_client
from synckairos.store.control_store import ControlStore
from synckairos.store.feed import COMPARE_S, Feed
from synckairos.store.member_copies import MemberCopies
from synckairos.store.presence import PresenceStore
from synckairos.store.rate_limits import RateLimits
from synckairos.store.stream_channels import StreamChannels
from synckairos.store.tickets import TicketStore
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.table import TenantTable
from tests.integration.authentication import authentication_settings, make_authenticator
from tests.integration.parts import Parts, open_parts
from tests.integration.realtime.asyncapi_check import check_message
from tests.principals import make_principal
from tests.waiting import eventually

CALLER = make_principal("admin")
VERBS: dict[type[Command], str] = {
    Start: "start",
    Switch: "switch",
    Delete: "delete",
    UpdateMetadata: "update_metadata",
}

SHORT_REALTIME = RealtimeTimeLimits(check_s=0.1)
"""Time limits for connections with which an instance detects stuck clients sooner."""

SHORT_SERVER = ServerTimeLimits(not_ready_s=0.0, close_s=0.5)
"""Time limits for shutdown. Tests have no load balancers, and clients that answer no close frame are aborted sooner."""


@dataclass(frozen=True, slots=True)
class CredentialLifeOptions:
    """Time limits in seconds for credentials on sockets. By default nothing ends during a test."""

    max_age_s: float = 3_600
    warn_before_s: float = 0.0
    auth_timeout_s: float = 30
    refresh_interval_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A running server with its hub."""

    parts: Parts
    feed: Feed
    hub: Hub
    server: Server
    done: asyncio.Task[None]
    channel: ControlChannel | None
    token_verifier: TokenVerifier | None
    signing_keys: ActiveSigningKeys | None
    active_tenants: ActiveTenants | None
    member_changes: MemberChanges | None

    @property
    def revocations(self) -> ControlChannel:
        assert self.channel is not None, "the instance was started without credential_life"
        return self.channel

    @property
    def verifier(self) -> TokenVerifier:
        assert self.token_verifier is not None, "the instance was started without credential_life"
        return self.token_verifier

    @property
    def keys(self) -> ActiveSigningKeys:
        assert self.signing_keys is not None, "the instance was started without credential_life"
        return self.signing_keys

    @property
    def tenants(self) -> ActiveTenants:
        assert self.active_tenants is not None, "the instance was started without credential_life"
        return self.active_tenants

    @property
    def members(self) -> MemberChanges:
        assert self.member_changes is not None, "the instance was started without credential_life"
        return self.member_changes

    @property
    def sessions(self) -> Sessions:
        return self.parts.sessions

    @property
    def connections(self) -> list[SocketConnection]:
        """Return the connections. The type of the hub's connections is `Watcher`."""
        return [each for each in self.hub.connections if isinstance(each, SocketConnection)]

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/ws"

    async def create(self, session_id: str | None = None, participants: int = 2) -> str:
        """Create a session of `participants` participants with a budget of five minutes each."""
        people = tuple(NewParticipant(str(uuid4()), total_time_ms=300_000) for _ in range(participants))
        session_id = session_id or str(uuid4())
        spec = Create(SyncMode.PER_PARTICIPANT, people)
        await self.sessions.create(CreateRequest(CALLER, spec, session_id))
        return session_id

    async def command(self, session_id: str, command: Command) -> SessionResult:
        return await self.sessions.execute(CommandRequest(CALLER, session_id, command, VERBS[type(command)]))

    async def feed_channels(self) -> list[bytes]:
        """Return the feed channels that the instances of this test watch. Each watched session has one channel."""
        pattern = f"{self.parts.store.keys.prefix}*:feed:*"
        channels: list[bytes] = await self.parts.pipe.call("PUBSUB", "CHANNELS", pattern)
        return channels

    async def wait_until_unused(self) -> None:
        """Wait until the instance has no connection and watches no session."""

        async def is_unused() -> bool:
            return not self.hub.connections and not await self.feed_channels()

        await eventually(is_unused)


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    principal: Principal | None = CALLER,
    authenticator: Authenticator | None = None,
    realtime_timings: RealtimeTimeLimits = SHORT_REALTIME,
    server_timings: ServerTimeLimits = SHORT_SERVER,
    feed_compare_s: float = COMPARE_S,
    user_timeout_ms: int = USER_TIMEOUT_MS,
    credential_life: CredentialLifeOptions | None = None,
) -> AsyncIterator[Instance]:
    """Run an instance inside the block, then drain it.

    All clients have the principal `principal`. None identifies clients by their address.
    `authenticator` replaces both. With `credential_life`, clients authenticate with tokens of `make_token`, and
    revocations work.
    """
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        redis = await stack.enter_async_context(make_redis_client(settings.redis_url, settings.redis_timeout_s))
        feed = Feed(
            redis,
            parts.pipe,
            parts.store.keys,
            session_ttl_s=settings.session_ttl_s,
            compare_s=feed_compare_s,
            known=parts.store.known,
        )
        presence_store = PresenceStore(parts.pipe, feed.subscriber, parts.store.keys)
        channel = ends = sign_ins = signing_keys = verifier = tenants = member_changes = None
        retired_keys = RetiredKeys(max_credential_life_s=86_400)
        if credential_life is not None:
            verifier = TokenVerifier.from_settings(authentication_settings(settings), retired_keys)
            channel = ControlChannel(
                ControlStore(parts.pipe, parts.store.keys),
                RevocationTable(parts.pool),
                feed.subscriber,
                feed.server_time.now_ms,
                max_credential_life_s=86_400,
                check_s=0.2,
            )
            signing_keys = ActiveSigningKeys(SigningKeyTable(parts.pool), channel, retired_keys)
            verifier.use_tenant_keys(signing_keys)
            member_table, member_copies = MemberTable(parts.pool), MemberCopies(parts.pipe, parts.store.keys)
            members = MemberCache(member_table, member_copies, channel)
            member_changes = MemberChanges(member_table, member_copies, channel)
            await channel.load()
            await signing_keys.refresh()
            tenants = ActiveTenants(TenantTable(parts.pool), channel, requires_registration=False)
            parts.work.tenants.use_limits(tenants.limits_of)
            await tenants.refresh()
            reading_tenants = asyncio.create_task(tenants.run())
            stack.callback(reading_tenants.cancel)
            running_channel = asyncio.create_task(channel.run())
            stack.callback(running_channel.cancel)
            reading_keys = asyncio.create_task(signing_keys.run())
            stack.callback(reading_keys.cancel)
            ends = CredentialEnds(
                feed.server_time.now_ms,
                channel,
                retired_keys,
                tenants,
                max_age_s=credential_life.max_age_s,
                warn_before_s=credential_life.warn_before_s,
            )
            for loop in (members.run, HolderRights(members, ends).run):
                stack.callback(asyncio.create_task(loop()).cancel)
            authenticator = make_authenticator(
                settings, verifier, refuse_ended=ends.require_not_revoked, find_members=members.find_members
            )
            sign_ins = SignIns(
                authenticator,
                auth_timeout_s=credential_life.auth_timeout_s,
                refresh_interval_s=credential_life.refresh_interval_s,
            )
        hub = Hub(
            feed,
            parts.sessions.read_as_server,
            parts.sessions.find_role,
            PresenceTracker(presence_store, feed.server_time, realtime_timings),
            parts.work,
            max_connections=settings.ws_max_connections,
            max_per_address=settings.ws_max_connections_per_address,
            credential_ends=ends,
            timings=realtime_timings,
        )
        commands = CommandHandler(
            parts.sessions, RateLimits(parts.pipe, parts.store.keys), parts.work.tenants, settings
        )
        callers = CallerResolver(settings.trusted_proxies)
        sign_ins = sign_ins or SignIns(authenticator)
        origins = AllowedOrigins.from_settings(settings)
        if tenants is not None:
            origins.use_tenants(tenants)
        handshakes = HandshakeAuthentication(
            hub,
            principal_for=lambda scope: principal or callers.principal_for(scope),
            authenticator=authenticator,
            sign_ins=sign_ins,
            tickets=TicketStore(parts.pipe, parts.store.keys),
            allows_tenant=origins.allows_tenant,
        )
        endpoint = WebSocketEndpoint(
            hub, commands, allows_origin=origins.allows_request, handshakes=handshakes, sign_ins=sign_ins
        )
        channels = StreamChannels(parts.pipe, feed.subscriber, parts.store.keys)
        streams = EventStreamEndpoint(
            hub, commands, channels, allows_origin=origins.allows_request, handshakes=handshakes, sign_ins=sign_ins
        )
        app = RestApp(
            OperationTable(EventStreamRoutes(streams, channels, authenticator, parts.work).operations()),
            RateLimits(parts.pipe, parts.store.keys),
            origins,
            RequestAuthentication(callers, authenticator, None),
            parts.work,
            settings,
            None,
            ends,
            fallback=endpoint,
            fallback_prefixes=[],
        )
        listener = listen(settings.host, settings.port, user_timeout_ms=user_timeout_ms)
        server = Server(app, settings, hub, listener, timings=server_timings)
        running = asyncio.create_task(hub.run_background_loops())
        checking = asyncio.create_task(LostVersionCheck(parts.sessions, parts.pipe).run())
        stack.callback(checking.cancel)
        ready = asyncio.Event()
        done = asyncio.create_task(server.run_until_stopped(on_ready=ready.set))
        await ready.wait()
        try:
            yield Instance(parts, feed, hub, server, done, channel, verifier, signing_keys, tenants, member_changes)
        finally:
            server.stop()
            await done
            running.cancel()
            await asyncio.wait((running,))


@asynccontextmanager
async def watching(instance: Instance, session_id: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """Connect a v2 client to a session."""
    async with connect(f"{instance.ws_url}?sessionId={session_id}", proxy=None, **options) as client:
        yield client


async def receive(client: ClientConnection, deadline_s: float = 10) -> dict[str, Any]:
    """Receive the next message that is not PRESENCE, because PRESENCE can arrive at any time."""
    while True:
        async with asyncio.timeout(deadline_s):
            message: dict[str, Any] = orjson.loads(await client.recv())
        check_message(message)
        if message["type"] != "PRESENCE":
            return message


async def receive_presence(client: ClientConnection, clients: int, deadline_s: float = 10) -> dict[str, Any]:
    """Receive messages until a PRESENCE with `clients` clients, and return this message."""
    async with asyncio.timeout(deadline_s):
        while True:
            message: dict[str, Any] = orjson.loads(await client.recv())
            check_message(message)
            if message["type"] == "PRESENCE" and message["clients"] == clients:
                return message


async def receive_until(client: ClientConnection, version: int) -> list[dict[str, Any]]:
    """Receive messages until a state with the version `version`."""
    received: list[dict[str, Any]] = []
    while not received or received[-1].get("state", {}).get("version") != version:
        received.append(await receive(client))
    return received
