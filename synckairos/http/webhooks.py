"""Webhooks over REST: who is told, and what they were told."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from synckairos.errors import Forbidden, ValidationFailed
from synckairos.http.operations import Operation
from synckairos.http.request import RestRequest, RestResponse
from synckairos.store.rate_limits import RateLimits
from synckairos.webhooks.address_guard import AddressGuard, AddressRefused
from synckairos.webhooks.records import WebhookDelivery, WebhookEndpoint
from synckairos.webhooks.registry import WebhookRegistry, WebhookTransaction
from synckairos.wire import webhooks as wire
from synckairos.wire.instants import render_instant

ALL = "/v1/webhooks"
ONE = "/v1/webhooks/{webhook_id}"


class WebhookRoutes:
    """The operations on webhooks: an administrator's."""

    def __init__(self, registry: WebhookRegistry, guard: AddressGuard, limits: RateLimits) -> None:
        self._registry = registry
        self._guard = guard
        self._limits = limits

    def operations(self) -> list[Operation]:
        """Return the operations for the table."""
        tag = "webhooks"
        return [
            Operation(
                "POST", ALL, self.create, "Register somebody who is told", tag,
                answer=wire.WebhookCreated, status=201, body=wire.CreateWebhook, body_required=True,
                refusals=(409, 422),
            ),
            Operation("GET", ALL, self.list, "List who is told", tag, answer=wire.WebhookList),
            Operation("GET", ONE, self.read, "Read one", tag, answer=wire.WebhookAnswer, refusals=(404,)),
            Operation(
                "PATCH", ONE, self.patch, "Change, enable or disable it", tag,
                answer=wire.WebhookAnswer, body=wire.PatchWebhook, refusals=(404,),
            ),
            Operation("DELETE", ONE, self.delete, "Delete it and its log", tag, status=204),
            Operation(
                "POST", f"{ONE}/rotate", self.rotate, "Replace its secret", tag,
                answer=wire.SecretAnswer, body=wire.RotateSecret, refusals=(404, 422),
            ),
            Operation(
                "POST", f"{ONE}/test", self.test, "Have a test message sent", tag,
                answer=wire.DeliveryAnswer, status=202, body=wire.EmptyBody, refusals=(404, 409, 422),
            ),
            Operation(
                "GET", f"{ONE}/deliveries", self.deliveries, "What it was told, newest first, and how that went", tag,
                answer=wire.DeliveryPage, query=wire.DeliveriesQuery, refusals=(404,),
            ),
            Operation(
                "POST", f"{ONE}/deliveries/{{delivery_id}}/resend", self.resend, "Have a message sent again", tag,
                answer=wire.DeliveryAnswer, status=202, body=wire.EmptyBody, refusals=(404, 409, 422),
            ),
        ]  # fmt: skip

    # -- one by one ---------------------------------------------------------------------------------------------------

    async def create(self, call: RestRequest) -> RestResponse:
        body = await call.body(wire.CreateWebhook)
        self._check(body.url)

        async def act(transaction: WebhookTransaction) -> dict[str, Any]:
            endpoint, secret = await transaction.create_endpoint(body)
            return {**endpoint_json(endpoint), "secret": secret}

        reply = await self._do_once(call, act, 201)
        webhook_id = orjson.loads(reply.body)["data"]["webhook_id"]
        reply.headers.append((b"location", f"{ALL}/{webhook_id}".encode()))
        return reply

    async def list(self, call: RestRequest) -> RestResponse:
        await self._admit(call)
        found = await self._registry.transact(lambda transaction: transaction.list_endpoints())
        return RestResponse(orjson.dumps({"data": [endpoint_json(each) for each in found], "next_cursor": None}))

    async def read(self, call: RestRequest) -> RestResponse:
        webhook_id = call.id("webhook_id")
        await self._admit(call)
        return _data(
            endpoint_json(await self._registry.transact(lambda transaction: transaction.read_endpoint(webhook_id)))
        )

    async def patch(self, call: RestRequest) -> RestResponse:
        body = await call.body(wire.PatchWebhook)
        webhook_id = call.id("webhook_id")
        if body.url is not None:
            self._check(body.url)
        await self._admit(call)
        return _data(
            endpoint_json(
                await self._registry.transact(lambda transaction: transaction.update_endpoint(webhook_id, body))
            )
        )

    async def delete(self, call: RestRequest) -> RestResponse:
        webhook_id = call.id("webhook_id")
        await self._admit(call)
        await self._registry.transact(lambda transaction: transaction.delete_endpoint(webhook_id))
        return RestResponse(status=204)

    async def rotate(self, call: RestRequest) -> RestResponse:
        body = await call.body(wire.RotateSecret)
        webhook_id = call.id("webhook_id")

        async def act(transaction: WebhookTransaction) -> dict[str, Any]:
            return {"webhook_id": webhook_id, "secret": await transaction.rotate_secret(webhook_id, body.overlap_s)}

        return await self._do_once(call, act)

    async def test(self, call: RestRequest) -> RestResponse:
        await call.body(wire.EmptyBody)
        webhook_id = call.id("webhook_id")

        async def act(transaction: WebhookTransaction) -> dict[str, Any]:
            return delivery_json(await transaction.enqueue_test(webhook_id))

        return await self._do_once(call, act, 202)

    async def deliveries(self, call: RestRequest) -> RestResponse:
        query = call.query(wire.DeliveriesQuery)
        webhook_id = call.id("webhook_id")
        await self._admit(call)
        page = await self._registry.transact(
            lambda transaction: transaction.list_deliveries(
                webhook_id, cursor=query.cursor, limit=query.limit, status=query.status
            )
        )
        rows = [delivery_json(each) for each in page.items]
        return RestResponse(orjson.dumps({"data": rows, "next_cursor": page.next_cursor}))

    async def resend(self, call: RestRequest) -> RestResponse:
        await call.body(wire.EmptyBody)
        webhook_id, delivery_id = call.id("webhook_id"), call.id("delivery_id")

        async def act(transaction: WebhookTransaction) -> dict[str, Any]:
            return delivery_json(await transaction.requeue(webhook_id, delivery_id))

        return await self._do_once(call, act, 202)

    # -- together -----------------------------------------------------------------------------------------------------

    def _check(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except AddressRefused as refused:
            raise ValidationFailed.at("url", refused.message) from None

    async def _admit(self, call: RestRequest) -> None:
        """Count the request, and let administrators through."""
        await self._limits.take(call.meter)
        if call.principal.role != "admin":
            raise Forbidden("Only administrators manage webhooks")

    async def _do_once(
        self, call: RestRequest, act: Callable[[WebhookTransaction], Awaitable[dict[str, Any]]], status: int = 200
    ) -> RestResponse:
        """Do it in one transaction; under an Idempotency-Key that was used for it before, give the answer again."""
        await self._admit(call)

        async def answer(transaction: WebhookTransaction) -> bytes:
            return orjson.dumps({"data": await act(transaction)})

        command_id = call.command_id()
        if command_id is None:
            return RestResponse(await self._registry.transact(answer), status)
        key = call.principal.scoped(command_id)
        body, is_replay = await self._registry.transact_once(key, call.fingerprint(), answer)
        if not is_replay:
            return RestResponse(body, status)
        await self._limits.give_back(call.meter)
        return RestResponse(body, status, headers=[(b"idempotency-replayed", b"true")])


def endpoint_json(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Return an endpoint as JSON values."""
    return {
        "webhook_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": endpoint.event_types,
        "metadata": endpoint.metadata,
        "snapshots": endpoint.snapshots,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": _instant(endpoint.failing_since_ms),
        "created_at": _instant(endpoint.created_at_ms),
        "updated_at": _instant(endpoint.updated_at_ms),
    }


def delivery_json(delivery: WebhookDelivery) -> dict[str, Any]:
    """Return a message and its tries as JSON values."""
    return {
        "delivery_id": delivery.delivery_id,
        "session_id": delivery.session_id,
        "epoch": delivery.epoch,
        "version": delivery.version,
        "event_type": delivery.event_type,
        "status": delivery.status,
        "created_at": _instant(delivery.created_at_ms),
        "next_try_at": _instant(delivery.due_at_ms),
        "attempts": [
            {
                "attempt": each.attempt,
                "at": _instant(each.at_ms),
                "duration_ms": each.duration_ms,
                "status_code": each.status_code,
                "error": each.error,
                "next_try_at": _instant(each.next_attempt_at_ms),
            }
            for each in delivery.attempts
        ],
    }


def _instant(at_ms: int | None) -> str | None:
    return None if at_ms is None else render_instant(at_ms)


def _data(value: dict[str, Any]) -> RestResponse:
    return RestResponse(orjson.dumps({"data": value}))
