"""REST route that makes tickets: single-use credentials for the URL of a WebSocket."""

import orjson

from synckairos.errors import AuthenticationOff, Forbidden
from synckairos.frozen_replace import replace
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.principal import ALL_SESSIONS, Narrowing, Principal, Role, SessionGrant
from synckairos.service.sessions import Sessions
from synckairos.store.rate_limits import RateLimits
from synckairos.store.tickets import Ticket, TicketStore
from synckairos.wire.instants import render_instant
from synckairos.wire.tickets import CreateTicket, TicketAnswer


class TicketRoutes:
    """REST operation that makes a ticket for the caller itself. `tickets` is None while authentication is off."""

    def __init__(self, sessions: Sessions, tickets: TicketStore | None, rate_limits: RateLimits) -> None:
        self._sessions = sessions
        self._tickets = tickets
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        return [
            Operation(
                "POST", "/v1/tickets", "make_ticket", self.create, "Make a ticket for one socket", "credentials",
                response_model=TicketAnswer, success_status=201, body_model=CreateTicket, refusal_statuses=(403, 404),
            ),
        ]  # fmt: skip

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/tickets`: make a ticket for one socket of the caller."""
        body = await request.read_body(CreateTicket)
        await self._rate_limits.count(request.meter)
        if self._tickets is None:
            raise AuthenticationOff
        for_earlier_release = await self._limit_rights(request.principal, body)
        ticket = Ticket(
            principal=request.principal.narrowed(_narrowing_of(body)), origin=body.origin or request.header(b"origin")
        )
        now_ms = await self._tickets.now_ms()
        text = await self._tickets.make(ticket, body.ttl_s, for_earlier_release=for_earlier_release)
        data = {"ticket": text, "expires_at": render_instant(now_ms + body.ttl_s * 1000)}
        return RestResponse(orjson.dumps({"data": data}), 201, headers=[(b"cache-control", b"no-store")])

    async def _limit_rights(self, principal: Principal, body: CreateTicket) -> Principal:
        """Return the caller with at most the role that the body names, and with grants for its sessions only.

        The roles are those of this moment. A later change of labels has no effect on them.

        Raises: SessionNotFound if the caller cannot reach one of the sessions. Forbidden if the role is above that of
            the caller.
        """
        if body.role is not None and not principal.has_role(body.role):
            raise Forbidden("A ticket has at most the role of its caller")
        narrowed = principal if body.role is None else replace(principal, role=body.role)
        if body.session_ids is None:
            grants = principal.grants
            if principal.role == "admin" and body.role is not None:
                grants = (ALL_SESSIONS,)
            return replace(narrowed, grants=grants)
        found = [(session_id, await self._sessions.find_role(principal, session_id)) for session_id in body.session_ids]
        # A caller with the role admin reaches each session without a grant, so a limited ticket needs a lower role.
        role: Role = "controller" if narrowed.role == "admin" else narrowed.role
        grants = tuple(
            SessionGrant(
                session_ids=frozenset((session_id,)),
                labels=frozenset(),
                all_sessions=False,
                role="controller" if on_session == "admin" else on_session,
            )
            for session_id, on_session in found
        )
        return replace(narrowed, role=role, grants=grants)


def _narrowing_of(body: CreateTicket) -> Narrowing | None:
    if body.role is None and body.session_ids is None:
        return None
    session_ids = None if body.session_ids is None else frozenset(body.session_ids)
    return Narrowing(role=body.role, session_ids=session_ids)
