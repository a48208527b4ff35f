# Generated from /openapi.json by `make python-client`. Do not edit.
"""The REST operations of a server, async.

Each method returns the `data` of the answer, or a whole page. Raises: RequestFailed if the request fails.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from synckairos_client.generated.rest_types import (
    AccessPage,
    AdjustBody,
    AmendBody,
    AnnounceBody,
    ApiKeyPage,
    ApiKeySecret,
    ArchiveView,
    CancelBody,
    CommandResults,
    CommandToMany,
    CompleteBody,
    CreateApiKey,
    CreateFromPreset,
    CreateLink,
    CreateRevocation,
    CreateSession,
    CreateSessionToken,
    CreateSigningKey,
    CreateTenant,
    CreateTicket,
    CreateWebhook,
    DeleteBody,
    DeliveryPage,
    DeliveryView,
    Disconnect,
    DoneBody,
    EmptyBody,
    EventPage,
    FinishBody,
    HoursPage,
    JobPage,
    JobView,
    JoinBody,
    LinkPage,
    LinkSecret,
    MemberPage,
    MembersPut,
    OwnCredentialView,
    ParticipantChangesBody,
    ParticipationPage,
    PatchBody,
    PatchTenant,
    PatchWebhook,
    PauseBody,
    PresetDetails,
    PresetSummary,
    PutMembers,
    ReconciliationPage,
    ReconciliationView,
    RedeemedLinkView,
    RedeemLink,
    RemovalBody,
    ReopenBody,
    RequestReconciliation,
    ResumeBody,
    RetriedEntries,
    RetrySetAside,
    RevocationPage,
    RevocationView,
    RotateSecret,
    ScreenBody,
    SecretView,
    SessionPage,
    SessionTokenView,
    SessionView,
    SetAsideEntryView,
    SetPlanBody,
    SigningKeyPage,
    SigningKeyView,
    SimulationBody,
    StartBody,
    SwitchBody,
    SwitchView,
    TenantPage,
    TenantView,
    TicketView,
    TimeBucket,
    Timeline,
    TimeView,
    UndoBody,
    WebhookCreatedView,
    WebhookList,
    WebhookView,
)
from synckairos_client.rest import path_part, random_key

Call = Callable[..., Awaitable[Any]]


class SessionsOperations:
    """Operations under `/v1/sessions`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(
        self, body: CreateSession | CreateFromPreset, *, idempotency_key: str | None = None
    ) -> SessionView:
        """Create a session.

        `POST /v1/sessions`
        """
        answer: SessionView = await self._call(
            "POST", "/v1/sessions", body=body, idempotency_key=idempotency_key or random_key(), has_data=True
        )
        return answer

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: Literal["pending", "running", "paused", "expired", "completed", "cancelled"] | None = None,
        sync_mode: Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"]
        | None = None,
        label: list[str] | None = None,
        columns: str | None = None,
    ) -> SessionPage:
        """List sessions, newest first.

        `GET /v1/sessions`
        """
        answer: SessionPage = await self._call(
            "GET",
            "/v1/sessions",
            query={
                "limit": limit,
                "cursor": cursor,
                "status": status,
                "sync_mode": sync_mode,
                "label": label,
                "columns": columns,
            },
        )
        return answer

    async def get(self, session_id: str, *, at: int | None = None, only: str | None = None) -> SessionView:
        """Read a session, now or at an earlier instant.

        `GET /v1/sessions/{session_id}`
        """
        answer: SessionView = await self._call(
            "GET", f"/v1/sessions/{path_part(session_id)}", query={"at": at, "only": only}, has_data=True
        )
        return answer

    async def update(
        self, session_id: str, body: PatchBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Change metadata, labels, and the instants of start and end by a merge patch (RFC 7396).

        `PATCH /v1/sessions/{session_id}`
        """
        answer: SessionView = await self._call(
            "PATCH",
            f"/v1/sessions/{path_part(session_id)}",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def delete(self, session_id: str, body: DeleteBody | None = None, *, if_match: str | None = None) -> None:
        """Delete a session; its audit trail stays.

        `DELETE /v1/sessions/{session_id}`
        """
        await self._call("DELETE", f"/v1/sessions/{path_part(session_id)}", body=body, if_match=if_match)

    async def start(
        self,
        session_id: str,
        body: StartBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """Start a session and its first turn.

        `POST /v1/sessions/{session_id}/start`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/start",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def switch(
        self,
        session_id: str,
        body: SwitchBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SwitchView:
        """End the current turn and start the next.

        `POST /v1/sessions/{session_id}/switch`
        """
        answer: SwitchView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/switch",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def done(
        self, session_id: str, body: DoneBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Mark a participant as done in the current turn.

        `POST /v1/sessions/{session_id}/done`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/done",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def finish(
        self,
        session_id: str,
        body: FinishBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """End clocks of participants in individual before their zero.

        `POST /v1/sessions/{session_id}/finish`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/finish",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def pause(
        self,
        session_id: str,
        body: PauseBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """Add a pause reason; the clocks stop.

        `POST /v1/sessions/{session_id}/pause`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/pause",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def resume(
        self,
        session_id: str,
        body: ResumeBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """Remove one pause reason or all; after the last one the clocks continue.

        `POST /v1/sessions/{session_id}/resume`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/resume",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def adjust(
        self, session_id: str, body: AdjustBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Add time to clocks or take time from them.

        `POST /v1/sessions/{session_id}/adjust`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/adjust",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def add_participant(
        self, session_id: str, body: JoinBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Add a participant.

        `POST /v1/sessions/{session_id}/participants`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/participants",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def remove_participant(
        self, session_id: str, participant_id: str, body: RemovalBody | None = None, *, if_match: str | None = None
    ) -> SessionView:
        """Remove a participant.

        `DELETE /v1/sessions/{session_id}/participants/{participant_id}`
        """
        answer: SessionView = await self._call(
            "DELETE",
            f"/v1/sessions/{path_part(session_id)}/participants/{path_part(participant_id)}",
            body=body,
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def update_participant(
        self,
        session_id: str,
        participant_id: str,
        body: ParticipantChangesBody,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """Change the budget or clock system of a participant before its first turn is over, or its name.

        `PATCH /v1/sessions/{session_id}/participants/{participant_id}`
        """
        answer: SessionView = await self._call(
            "PATCH",
            f"/v1/sessions/{path_part(session_id)}/participants/{path_part(participant_id)}",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def update_plan(
        self, session_id: str, body: SetPlanBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Replace the items of the plan that have not begun.

        `PUT /v1/sessions/{session_id}/plan`
        """
        answer: SessionView = await self._call(
            "PUT",
            f"/v1/sessions/{path_part(session_id)}/plan",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def complete(
        self,
        session_id: str,
        body: CompleteBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """End a session as completed.

        `POST /v1/sessions/{session_id}/complete`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/complete",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def cancel(
        self,
        session_id: str,
        body: CancelBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """End a session as cancelled.

        `POST /v1/sessions/{session_id}/cancel`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/cancel",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def undo(
        self,
        session_id: str,
        body: UndoBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """Take back turns; an earlier turn begins again.

        `POST /v1/sessions/{session_id}/undo`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/undo",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def reopen(
        self,
        session_id: str,
        body: ReopenBody | None = None,
        *,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> SessionView:
        """Continue an expired or completed session, paused in the turn in which it ended.

        `POST /v1/sessions/{session_id}/reopen`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/reopen",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def amend(
        self, session_id: str, body: AmendBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Replace the start, end or breaks of an ended count_up session.

        `POST /v1/sessions/{session_id}/amend`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/amend",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def announce(
        self, session_id: str, body: AnnounceBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Show a text to the audience, or remove it.

        `POST /v1/sessions/{session_id}/announce`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/announce",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def screen(
        self, session_id: str, body: ScreenBody, *, idempotency_key: str | None = None, if_match: str | None = None
    ) -> SessionView:
        """Change what the screens of the audience show.

        `POST /v1/sessions/{session_id}/screen`
        """
        answer: SessionView = await self._call(
            "POST",
            f"/v1/sessions/{path_part(session_id)}/screen",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            if_match=if_match,
            has_data=True,
        )
        return answer

    async def add_command(self, body: CommandToMany, *, idempotency_key: str | None = None) -> CommandResults:
        """Execute one command on many sessions.

        `POST /v1/sessions/commands`
        """
        answer: CommandResults = await self._call(
            "POST", "/v1/sessions/commands", body=body, idempotency_key=idempotency_key or random_key(), has_data=True
        )
        return answer

    async def events(
        self,
        session_id: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        snapshots: bool | None = None,
        columns: str | None = None,
    ) -> EventPage:
        """List the events of a session, oldest first, or stream them live.

        `GET /v1/sessions/{session_id}/events`
        """
        answer: EventPage = await self._call(
            "GET",
            f"/v1/sessions/{path_part(session_id)}/events",
            query={"limit": limit, "cursor": cursor, "snapshots": snapshots, "columns": columns},
        )
        return answer

    async def archive(self, session_id: str, *, snapshots: bool | None = None) -> ArchiveView:
        """Read the archive of a finished session from cold storage.

        `GET /v1/sessions/{session_id}/archive`
        """
        answer: ArchiveView = await self._call(
            "GET", f"/v1/sessions/{path_part(session_id)}/archive", query={"snapshots": snapshots}, has_data=True
        )
        return answer


class ParticipantsOperations:
    """Operations under `/v1/participants`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def sessions(
        self,
        participant_id: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        days: int | None = None,
        columns: str | None = None,
    ) -> ParticipationPage:
        """List the sessions of a participant, newest first.

        `GET /v1/participants/{participant_id}/sessions`
        """
        answer: ParticipationPage = await self._call(
            "GET",
            f"/v1/participants/{path_part(participant_id)}/sessions",
            query={"limit": limit, "cursor": cursor, "days": days, "columns": columns},
        )
        return answer

    async def time(
        self,
        participant_id: str,
        *,
        from_: str | None = None,
        to: str | None = None,
        tz: str | None = None,
        bucket: Literal["session", "day", "week", "month"] | None = None,
        week_start: Literal["monday", "sunday", "saturday"] | None = None,
        round_ms: int | None = None,
        round: Literal["up", "nearest"] | None = None,
        columns: str | None = None,
        group_by: str | None = None,
    ) -> list[TimeBucket]:
        """Report the time used by a participant, by session, day, week or month.

        `GET /v1/participants/{participant_id}/time`
        """
        answer: list[TimeBucket] = await self._call(
            "GET",
            f"/v1/participants/{path_part(participant_id)}/time",
            query={
                "from": from_,
                "to": to,
                "tz": tz,
                "bucket": bucket,
                "week_start": week_start,
                "round_ms": round_ms,
                "round": round,
                "columns": columns,
                "group_by": group_by,
            },
            has_data=True,
        )
        return answer


class HoursOperations:
    """Operations under `/v1/hours`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def list(
        self,
        *,
        from_: str | None = None,
        to: str | None = None,
        tz: str | None = None,
        bucket: Literal["session", "day", "week", "month"] | None = None,
        week_start: Literal["monday", "sunday", "saturday"] | None = None,
        round_ms: int | None = None,
        round: Literal["up", "nearest"] | None = None,
        columns: str | None = None,
        participants: str | None = None,
        label: list[str] | None = None,
        group_by: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> HoursPage:
        """Report the time used by several participants, by session, day, week or month.

        `GET /v1/hours`
        """
        answer: HoursPage = await self._call(
            "GET",
            "/v1/hours",
            query={
                "from": from_,
                "to": to,
                "tz": tz,
                "bucket": bucket,
                "week_start": week_start,
                "round_ms": round_ms,
                "round": round,
                "columns": columns,
                "participants": participants,
                "label": label,
                "group_by": group_by,
                "limit": limit,
                "cursor": cursor,
            },
        )
        return answer


class WebhooksOperations:
    """Operations under `/v1/webhooks`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateWebhook, *, idempotency_key: str | None = None) -> WebhookCreatedView:
        """Register a webhook endpoint.

        `POST /v1/webhooks`
        """
        answer: WebhookCreatedView = await self._call(
            "POST", "/v1/webhooks", body=body, idempotency_key=idempotency_key or random_key(), has_data=True
        )
        return answer

    async def list(self) -> WebhookList:
        """List webhook endpoints.

        `GET /v1/webhooks`
        """
        answer: WebhookList = await self._call("GET", "/v1/webhooks")
        return answer

    async def get(self, webhook_id: str) -> WebhookView:
        """Read a webhook endpoint.

        `GET /v1/webhooks/{webhook_id}`
        """
        answer: WebhookView = await self._call("GET", f"/v1/webhooks/{path_part(webhook_id)}", has_data=True)
        return answer

    async def update(self, webhook_id: str, body: PatchWebhook | None = None) -> WebhookView:
        """Change, enable or disable a webhook endpoint.

        `PATCH /v1/webhooks/{webhook_id}`
        """
        answer: WebhookView = await self._call(
            "PATCH", f"/v1/webhooks/{path_part(webhook_id)}", body=body, has_data=True
        )
        return answer

    async def delete(self, webhook_id: str) -> None:
        """Delete a webhook endpoint and its delivery log.

        `DELETE /v1/webhooks/{webhook_id}`
        """
        await self._call("DELETE", f"/v1/webhooks/{path_part(webhook_id)}")

    async def rotate(
        self, webhook_id: str, body: RotateSecret | None = None, *, idempotency_key: str | None = None
    ) -> SecretView:
        """Replace the signing secret of a webhook endpoint.

        `POST /v1/webhooks/{webhook_id}/rotate`
        """
        answer: SecretView = await self._call(
            "POST",
            f"/v1/webhooks/{path_part(webhook_id)}/rotate",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            has_data=True,
        )
        return answer

    async def test(
        self, webhook_id: str, body: EmptyBody | None = None, *, idempotency_key: str | None = None
    ) -> DeliveryView:
        """Send a test message to a webhook endpoint.

        `POST /v1/webhooks/{webhook_id}/test`
        """
        answer: DeliveryView = await self._call(
            "POST",
            f"/v1/webhooks/{path_part(webhook_id)}/test",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            has_data=True,
        )
        return answer

    async def deliveries(
        self,
        webhook_id: str,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: Literal["pending", "delivered", "failed"] | None = None,
    ) -> DeliveryPage:
        """List deliveries to a webhook endpoint, newest first, with the result of each attempt.

        `GET /v1/webhooks/{webhook_id}/deliveries`
        """
        answer: DeliveryPage = await self._call(
            "GET",
            f"/v1/webhooks/{path_part(webhook_id)}/deliveries",
            query={"limit": limit, "cursor": cursor, "status": status},
        )
        return answer

    async def resend(
        self, webhook_id: str, delivery_id: str, body: EmptyBody | None = None, *, idempotency_key: str | None = None
    ) -> DeliveryView:
        """Send a delivery again.

        `POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend`
        """
        answer: DeliveryView = await self._call(
            "POST",
            f"/v1/webhooks/{path_part(webhook_id)}/deliveries/{path_part(delivery_id)}/resend",
            body=body,
            idempotency_key=idempotency_key or random_key(),
            has_data=True,
        )
        return answer


class AccessOperations:
    """Operations under `/v1/access`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(
        self, *, limit: int | None = None, cursor: str | None = None, entry: Literal["act", "refusal"] | None = None
    ) -> AccessPage:
        """List administrative acts and refused requests, newest first.

        `GET /v1/access`
        """
        answer: AccessPage = await self._call(
            "GET", "/v1/access", query={"limit": limit, "cursor": cursor, "entry": entry}
        )
        return answer


class MeOperations:
    """Operations under `/v1/me`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(self, *, session_id: str | None = None) -> OwnCredentialView:
        """Describe the credential of the caller.

        `GET /v1/me`
        """
        answer: OwnCredentialView = await self._call("GET", "/v1/me", query={"session_id": session_id}, has_data=True)
        return answer

    async def sessions(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: Literal["pending", "running", "paused", "expired", "completed", "cancelled"] | None = None,
        sync_mode: Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"]
        | None = None,
        label: list[str] | None = None,
    ) -> SessionPage:
        """List the sessions that the caller can reach, newest first.

        `GET /v1/me/sessions`
        """
        answer: SessionPage = await self._call(
            "GET",
            "/v1/me/sessions",
            query={"limit": limit, "cursor": cursor, "status": status, "sync_mode": sync_mode, "label": label},
        )
        return answer


class TicketsOperations:
    """Operations under `/v1/tickets`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateTicket | None = None) -> TicketView:
        """Make a ticket for one socket.

        `POST /v1/tickets`
        """
        answer: TicketView = await self._call("POST", "/v1/tickets", body=body, has_data=True)
        return answer


class RevocationsOperations:
    """Operations under `/v1/revocations`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateRevocation) -> RevocationView:
        """Revoke credentials of the tenant.

        `POST /v1/revocations`
        """
        answer: RevocationView = await self._call("POST", "/v1/revocations", body=body, has_data=True)
        return answer

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> RevocationPage:
        """List revocations that have an effect, newest first.

        `GET /v1/revocations`
        """
        answer: RevocationPage = await self._call("GET", "/v1/revocations", query={"limit": limit, "cursor": cursor})
        return answer


class DisconnectOperations:
    """Operations under `/v1/disconnect`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def run(self, body: Disconnect) -> None:
        """Close all sockets and streams of a subject.

        `POST /v1/disconnect`
        """
        await self._call("POST", "/v1/disconnect", body=body)


class KeysOperations:
    """Operations under `/v1/keys`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateApiKey) -> ApiKeySecret:
        """Make an API key.

        `POST /v1/keys`
        """
        answer: ApiKeySecret = await self._call("POST", "/v1/keys", body=body, has_data=True)
        return answer

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> ApiKeyPage:
        """List API keys, newest first.

        `GET /v1/keys`
        """
        answer: ApiKeyPage = await self._call("GET", "/v1/keys", query={"limit": limit, "cursor": cursor})
        return answer

    async def rotate(self, key_id: str) -> ApiKeySecret:
        """Give an API key a new secret; the previous one stays valid for 24 hours.

        `POST /v1/keys/{key_id}/rotate`
        """
        answer: ApiKeySecret = await self._call("POST", f"/v1/keys/{path_part(key_id)}/rotate", has_data=True)
        return answer

    async def delete(self, key_id: str) -> None:
        """Revoke an API key and what it made.

        `DELETE /v1/keys/{key_id}`
        """
        await self._call("DELETE", f"/v1/keys/{path_part(key_id)}")


class LinksOperations:
    """Operations under `/v1/links`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateLink) -> LinkSecret:
        """Make a link to a session.

        `POST /v1/links`
        """
        answer: LinkSecret = await self._call("POST", "/v1/links", body=body, has_data=True)
        return answer

    async def list(
        self, *, limit: int | None = None, cursor: str | None = None, session_id: str | None = None
    ) -> LinkPage:
        """List valid links, newest first.

        `GET /v1/links`
        """
        answer: LinkPage = await self._call(
            "GET", "/v1/links", query={"limit": limit, "cursor": cursor, "session_id": session_id}
        )
        return answer

    async def delete(self, link_id: str) -> None:
        """Revoke a link and its session tokens.

        `DELETE /v1/links/{link_id}`
        """
        await self._call("DELETE", f"/v1/links/{path_part(link_id)}")

    async def redeem(self, body: RedeemLink) -> RedeemedLinkView:
        """Redeem a link for a session token.

        `POST /v1/links/redeem`
        """
        answer: RedeemedLinkView = await self._call("POST", "/v1/links/redeem", body=body, has_data=True)
        return answer


class TokensOperations:
    """Operations under `/v1/tokens`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateSessionToken | None = None) -> SessionTokenView:
        """Exchange an API key for a session token.

        `POST /v1/tokens`
        """
        answer: SessionTokenView = await self._call("POST", "/v1/tokens", body=body, has_data=True)
        return answer

    async def delete(self) -> None:
        """End the session token of the caller and its sockets.

        `DELETE /v1/tokens`
        """
        await self._call("DELETE", "/v1/tokens")


class MembersOperations:
    """Operations under `/v1/members`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def add_reconciliation(self, body: RequestReconciliation | None = None) -> ReconciliationView:
        """Reconcile the members of the tenant with their source.

        `POST /v1/members/reconciliations`
        """
        answer: ReconciliationView = await self._call("POST", "/v1/members/reconciliations", body=body, has_data=True)
        return answer

    async def reconciliations(self, *, limit: int | None = None, cursor: str | None = None) -> ReconciliationPage:
        """List reconciliations of members with their reports, newest first.

        `GET /v1/members/reconciliations`
        """
        answer: ReconciliationPage = await self._call(
            "GET", "/v1/members/reconciliations", query={"limit": limit, "cursor": cursor}
        )
        return answer

    async def get_reconciliation(self, job_id: str) -> ReconciliationView:
        """Read a reconciliation of members.

        `GET /v1/members/reconciliations/{job_id}`
        """
        answer: ReconciliationView = await self._call(
            "GET", f"/v1/members/reconciliations/{path_part(job_id)}", has_data=True
        )
        return answer

    async def put(self, body: PutMembers) -> MembersPut:
        """Give subjects roles on sessions or labels.

        `PUT /v1/members`
        """
        answer: MembersPut = await self._call("PUT", "/v1/members", body=body, has_data=True)
        return answer

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        subject: str | None = None,
        resource: str | None = None,
    ) -> MemberPage:
        """List members, by subject and resource.

        `GET /v1/members`
        """
        answer: MemberPage = await self._call(
            "GET", "/v1/members", query={"limit": limit, "cursor": cursor, "subject": subject, "resource": resource}
        )
        return answer

    async def delete(self, *, subject: str | None = None, resource: str | None = None) -> None:
        """Remove the role of a subject on a resource.

        `DELETE /v1/members`
        """
        await self._call("DELETE", "/v1/members", query={"subject": subject, "resource": resource})


class SigningKeysOperations:
    """Operations under `/v1/signing-keys`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateSigningKey) -> SigningKeyView:
        """Add a public key that verifies tokens of the tenant.

        `POST /v1/signing-keys`
        """
        answer: SigningKeyView = await self._call("POST", "/v1/signing-keys", body=body, has_data=True)
        return answer

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> SigningKeyPage:
        """List signing keys, newest first.

        `GET /v1/signing-keys`
        """
        answer: SigningKeyPage = await self._call("GET", "/v1/signing-keys", query={"limit": limit, "cursor": cursor})
        return answer

    async def delete(self, signing_key_id: str) -> None:
        """Remove a signing key, and end its tokens and sockets.

        `DELETE /v1/signing-keys/{signing_key_id}`
        """
        await self._call("DELETE", f"/v1/signing-keys/{path_part(signing_key_id)}")


class TenantsOperations:
    """Operations under `/v1/tenants`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def create(self, body: CreateTenant) -> TenantView:
        """Create a tenant.

        `POST /v1/tenants`
        """
        answer: TenantView = await self._call("POST", "/v1/tenants", body=body, has_data=True)
        return answer

    async def list(self, *, limit: int | None = None, cursor: str | None = None) -> TenantPage:
        """List tenants, newest first.

        `GET /v1/tenants`
        """
        answer: TenantPage = await self._call("GET", "/v1/tenants", query={"limit": limit, "cursor": cursor})
        return answer

    async def get(self, tenant: str) -> TenantView:
        """Read a tenant.

        `GET /v1/tenants/{tenant}`
        """
        answer: TenantView = await self._call("GET", f"/v1/tenants/{path_part(tenant)}", has_data=True)
        return answer

    async def update(self, tenant: str, body: PatchTenant) -> TenantView:
        """Change the limits, the origins or the description of a tenant.

        `PATCH /v1/tenants/{tenant}`
        """
        answer: TenantView = await self._call("PATCH", f"/v1/tenants/{path_part(tenant)}", body=body, has_data=True)
        return answer

    async def delete(self, tenant: str) -> TenantView:
        """Delete a tenant and all its data.

        `DELETE /v1/tenants/{tenant}`
        """
        answer: TenantView = await self._call("DELETE", f"/v1/tenants/{path_part(tenant)}", has_data=True)
        return answer

    async def suspend(self, tenant: str, body: EmptyBody | None = None) -> TenantView:
        """Refuse the credentials of a tenant, and close its sockets.

        `POST /v1/tenants/{tenant}/suspend`
        """
        answer: TenantView = await self._call(
            "POST", f"/v1/tenants/{path_part(tenant)}/suspend", body=body, has_data=True
        )
        return answer

    async def activate(self, tenant: str, body: EmptyBody | None = None) -> TenantView:
        """Accept the credentials of a tenant again.

        `POST /v1/tenants/{tenant}/activate`
        """
        answer: TenantView = await self._call(
            "POST", f"/v1/tenants/{path_part(tenant)}/activate", body=body, has_data=True
        )
        return answer


class JobsOperations:
    """Operations under `/v1/jobs`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def list(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        status: Literal["queued", "running", "done", "failed"] | None = None,
        type: str | None = None,
    ) -> JobPage:
        """List background jobs, newest first.

        `GET /v1/jobs`
        """
        answer: JobPage = await self._call(
            "GET", "/v1/jobs", query={"limit": limit, "cursor": cursor, "status": status, "type": type}
        )
        return answer

    async def get(self, job_id: str) -> JobView:
        """Read a background job with its progress.

        `GET /v1/jobs/{job_id}`
        """
        answer: JobView = await self._call("GET", f"/v1/jobs/{path_part(job_id)}", has_data=True)
        return answer

    async def retry(self, job_id: str, body: EmptyBody | None = None) -> JobView:
        """Queue a failed job again.

        `POST /v1/jobs/{job_id}/retry`
        """
        answer: JobView = await self._call("POST", f"/v1/jobs/{path_part(job_id)}/retry", body=body, has_data=True)
        return answer


class FailedEntriesOperations:
    """Operations under `/v1/failed-entries`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def list(self, *, limit: int | None = None) -> list[SetAsideEntryView]:
        """List audit entries that were set aside, the oldest version first.

        `GET /v1/failed-entries`
        """
        answer: list[SetAsideEntryView] = await self._call(
            "GET", "/v1/failed-entries", query={"limit": limit}, has_data=True
        )
        return answer

    async def retry(self, body: RetrySetAside | None = None) -> RetriedEntries:
        """Retry one or all audit entries that were set aside.

        `POST /v1/failed-entries/retry`
        """
        answer: RetriedEntries = await self._call("POST", "/v1/failed-entries/retry", body=body, has_data=True)
        return answer


class SimulateOperations:
    """Operations under `/v1/simulate`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def run(self, body: SimulationBody) -> Timeline:
        """Simulate a session; nothing is stored.

        `POST /v1/simulate`
        """
        answer: Timeline = await self._call("POST", "/v1/simulate", body=body, has_data=True)
        return answer


class PresetsOperations:
    """Operations under `/v1/presets`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def list(self) -> list[PresetSummary]:
        """List the presets.

        `GET /v1/presets`
        """
        answer: list[PresetSummary] = await self._call("GET", "/v1/presets", has_data=True)
        return answer

    async def get(self, category: str, name: str) -> PresetDetails:
        """Read a preset with its session.

        `GET /v1/presets/{category}/{name}`
        """
        answer: PresetDetails = await self._call(
            "GET", f"/v1/presets/{path_part(category)}/{path_part(name)}", has_data=True
        )
        return answer


class TimeOperations:
    """Operations under `/v1/time`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(self) -> TimeView:
        """Read the server time.

        `GET /v1/time`
        """
        answer: TimeView = await self._call("GET", "/v1/time")
        return answer


class Api:
    """The REST operations of a server."""

    def __init__(self, call: Call) -> None:
        self.sessions = SessionsOperations(call)
        self.participants = ParticipantsOperations(call)
        self.hours = HoursOperations(call)
        self.webhooks = WebhooksOperations(call)
        self.access = AccessOperations(call)
        self.me = MeOperations(call)
        self.tickets = TicketsOperations(call)
        self.revocations = RevocationsOperations(call)
        self.disconnect = DisconnectOperations(call)
        self.keys = KeysOperations(call)
        self.links = LinksOperations(call)
        self.tokens = TokensOperations(call)
        self.members = MembersOperations(call)
        self.signing_keys = SigningKeysOperations(call)
        self.tenants = TenantsOperations(call)
        self.jobs = JobsOperations(call)
        self.failed_entries = FailedEntriesOperations(call)
        self.simulate = SimulateOperations(call)
        self.presets = PresetsOperations(call)
        self.time = TimeOperations(call)
