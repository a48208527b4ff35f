"""REST routes for webhook endpoints, signing secrets, test messages, and the delivery log."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from synckairos.errors import ValidationFailed
from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.store.rate_limits import RateLimits
from synckairos.webhooks.address_guard import AddressGuard, AddressRefused
from synckairos.webhooks.records_json import delivery_json, endpoint_json
from synckairos.webhooks.registry import WebhookRegistry, WebhookTransaction
from synckairos.wire import webhooks as wire

COLLECTION_PATH = "/v1/webhooks"
ENDPOINT_PATH = "/v1/webhooks/{webhook_id}"


class WebhookRoutes:
    """REST operations on webhook endpoints and deliveries. All of them require the role `admin`."""

    def __init__(self, registry: WebhookRegistry, guard: AddressGuard, rate_limits: RateLimits) -> None:
        self._registry = registry
        self._guard = guard
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "webhooks"
        return [
            Operation(
                "POST", COLLECTION_PATH, "manage_webhooks", self.create, "Register a webhook endpoint", tag,
                response_model=wire.WebhookCreated, success_status=201, body_model=wire.CreateWebhook,
                is_body_required=True, refusal_statuses=(409, 422),
                is_administrative=True,
            ),
            Operation(
                "GET", COLLECTION_PATH, "manage_webhooks", self.list,
                "List webhook endpoints", tag, response_model=wire.WebhookList,
            ),
            Operation(
                "GET", ENDPOINT_PATH, "manage_webhooks", self.read, "Read a webhook endpoint", tag,
                response_model=wire.WebhookAnswer, refusal_statuses=(404,),
            ),
            Operation(
                "PATCH", ENDPOINT_PATH, "manage_webhooks", self.patch,
                "Change, enable or disable a webhook endpoint", tag,
                response_model=wire.WebhookAnswer, body_model=wire.PatchWebhook, refusal_statuses=(404,),
                is_administrative=True,
            ),
            Operation(
                "DELETE", ENDPOINT_PATH, "manage_webhooks", self.delete,
                "Delete a webhook endpoint and its delivery log", tag,
                success_status=204,
                is_administrative=True,
            ),
            Operation(
                "POST", f"{ENDPOINT_PATH}/rotate", "manage_webhooks", self.rotate,
                "Replace the signing secret of a webhook endpoint", tag,
                response_model=wire.SecretAnswer, body_model=wire.RotateSecret, refusal_statuses=(404, 422),
                is_administrative=True,
            ),
            Operation(
                "POST", f"{ENDPOINT_PATH}/test", "manage_webhooks", self.test,
                "Send a test message to a webhook endpoint", tag,
                response_model=wire.DeliveryAnswer, success_status=202, body_model=wire.EmptyBody,
                refusal_statuses=(404, 409, 422),
                is_administrative=True,
            ),
            Operation(
                "GET", f"{ENDPOINT_PATH}/deliveries", "manage_webhooks", self.deliveries,
                "List deliveries to a webhook endpoint, newest first, with the result of each attempt", tag,
                response_model=wire.DeliveryPage, query_model=wire.DeliveriesQuery, refusal_statuses=(404,),
            ),
            Operation(
                "POST", f"{ENDPOINT_PATH}/deliveries/{{delivery_id}}/resend", "manage_webhooks", self.resend,
                "Send a delivery again", tag,
                response_model=wire.DeliveryAnswer, success_status=202, body_model=wire.EmptyBody,
                refusal_statuses=(404, 409, 422),
                is_administrative=True,
            ),
        ]  # fmt: skip

    # -- handlers -----------------------------------------------------------------------------------------------------

    async def create(self, request: RestRequest) -> RestResponse:
        """Answer the request that creates a webhook endpoint. The response has the signing secret."""
        body = await request.read_body(wire.CreateWebhook)
        self._check_url(body.url)

        async def change(transaction: WebhookTransaction) -> dict[str, Any]:
            endpoint, secret = await transaction.create_endpoint(body)
            return {**endpoint_json(endpoint), "secret": secret}

        response = await self._run_once(request, change, 201)
        request.act_target = webhook_id = orjson.loads(response.body)["data"]["webhook_id"]
        response.headers.append((b"location", request.to_public_path(f"{COLLECTION_PATH}/{webhook_id}").encode()))
        return response

    async def list(self, request: RestRequest) -> RestResponse:
        """Answer the request that lists all webhook endpoints, oldest first."""
        await self._rate_limits.count(request.meter)
        found = await self._registry.transact(
            request.principal.tenant, lambda transaction: transaction.list_endpoints()
        )
        return RestResponse(orjson.dumps({"data": [endpoint_json(each) for each in found], "next_cursor": None}))

    async def read(self, request: RestRequest) -> RestResponse:
        """Answer the request that reads one webhook endpoint."""
        webhook_id = request.path_uuid("webhook_id")
        await self._rate_limits.count(request.meter)
        return _data_response(
            endpoint_json(
                await self._registry.transact(
                    request.principal.tenant, lambda transaction: transaction.read_endpoint(webhook_id)
                )
            )
        )

    async def patch(self, request: RestRequest) -> RestResponse:
        """Answer the request that changes a webhook endpoint."""
        body = await request.read_body(wire.PatchWebhook)
        webhook_id = request.path_uuid("webhook_id")
        if body.url is not None:
            self._check_url(body.url)
        await self._rate_limits.count(request.meter)
        return _data_response(
            endpoint_json(
                await self._registry.transact(
                    request.principal.tenant, lambda transaction: transaction.update_endpoint(webhook_id, body)
                )
            )
        )

    async def delete(self, request: RestRequest) -> RestResponse:
        """Answer the request that deletes a webhook endpoint and its deliveries."""
        webhook_id = request.path_uuid("webhook_id")
        await self._rate_limits.count(request.meter)
        await self._registry.transact(
            request.principal.tenant, lambda transaction: transaction.delete_endpoint(webhook_id)
        )
        return RestResponse(status=204)

    async def rotate(self, request: RestRequest) -> RestResponse:
        """Answer the request that replaces the signing secret of a webhook endpoint."""
        body = await request.read_body(wire.RotateSecret)
        webhook_id = request.path_uuid("webhook_id")

        async def change(transaction: WebhookTransaction) -> dict[str, Any]:
            return {"webhook_id": webhook_id, "secret": await transaction.rotate_secret(webhook_id, body.overlap_s)}

        return await self._run_once(request, change)

    async def test(self, request: RestRequest) -> RestResponse:
        """Answer the request that sends a test message to a webhook endpoint."""
        await request.read_body(wire.EmptyBody)
        webhook_id = request.path_uuid("webhook_id")

        async def change(transaction: WebhookTransaction) -> dict[str, Any]:
            return delivery_json(await transaction.enqueue_test(webhook_id))

        return await self._run_once(request, change, 202)

    async def deliveries(self, request: RestRequest) -> RestResponse:
        """Answer the request that lists deliveries to a webhook endpoint, newest first, with all attempts."""
        query = request.read_query(wire.DeliveriesQuery)
        webhook_id = request.path_uuid("webhook_id")
        await self._rate_limits.count(request.meter)
        page = await self._registry.transact(
            request.principal.tenant,
            lambda transaction: transaction.list_deliveries(
                webhook_id, cursor=query.cursor, limit=query.limit, status=query.status
            ),
        )
        rows = [delivery_json(each) for each in page.items]
        return RestResponse(orjson.dumps({"data": rows, "next_cursor": page.next_cursor}))

    async def resend(self, request: RestRequest) -> RestResponse:
        """Answer the request that sends a delivery again."""
        await request.read_body(wire.EmptyBody)
        webhook_id, delivery_id = request.path_uuid("webhook_id"), request.path_uuid("delivery_id")

        async def change(transaction: WebhookTransaction) -> dict[str, Any]:
            return delivery_json(await transaction.requeue(webhook_id, delivery_id))

        return await self._run_once(request, change, 202)

    # -- shared helpers -----------------------------------------------------------------------------------------------

    def _check_url(self, url: str) -> None:
        try:
            self._guard.check_url(url)
        except AddressRefused as refused:
            raise ValidationFailed.at_path("url", refused.message) from None

    async def _run_once(
        self, request: RestRequest, change: Callable[[WebhookTransaction], Awaitable[dict[str, Any]]], status: int = 200
    ) -> RestResponse:
        """Count the request, run `change` in a transaction, and return a response with the result of `change`.

        `status` is the status of the response. If an equal request with the same `Idempotency-Key` was executed before,
        do not run `change`. The response then has the saved result, without the secret. So the secret is only in the
        first response, and no later reader of the key can get it.

        Raises: IdempotencyKeyReused if the key was used for another request, and the errors of `change` and of
        the count.
        """
        await self._rate_limits.count(request.meter)
        result: dict[str, Any] = {}

        async def render_result(transaction: WebhookTransaction) -> bytes:
            nonlocal result
            result = await change(transaction)
            return _render_without_secret(result)

        command_id = request.parse_command_id()
        if command_id is None:
            await self._registry.transact(request.principal.tenant, render_result)
            return _data_response(result, status)
        key = request.principal.qualify_request_id(command_id)
        body, is_replay = await self._registry.transact_idempotently(
            request.principal.tenant, key, request.fingerprint(), render_result
        )
        if not is_replay:
            return _data_response(result, status)
        await self._rate_limits.recount_as_replay(request.meter)
        # The previous release saved the secret too.
        body = _render_without_secret(orjson.loads(body)["data"])
        return RestResponse(body, status, headers=[(b"idempotency-replayed", b"true")])


def _data_response(value: dict[str, Any], status: int = 200) -> RestResponse:
    return RestResponse(orjson.dumps({"data": value}), status)


def _render_without_secret(value: dict[str, Any]) -> bytes:
    return orjson.dumps({"data": {name: each for name, each in value.items() if name != "secret"}})
