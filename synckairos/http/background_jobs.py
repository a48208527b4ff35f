"""REST routes of background jobs and of set-aside audit entries, for operators."""

import orjson

from synckairos.http.operations import Operation
from synckairos.http.request_response import RestRequest, RestResponse
from synckairos.service.background_jobs import BackgroundJobs, job_json
from synckairos.service.set_aside_entries import SetAsideEntries, entry_json
from synckairos.store.rate_limits import RateLimits
from synckairos.wire import background_jobs as wire
from synckairos.wire.webhooks import EmptyBody

COLLECTION_PATH = "/v1/jobs"
JOB_PATH = "/v1/jobs/{job_id}"
ENTRIES_PATH = "/v1/failed-entries"


class BackgroundJobRoutes:
    """REST operations on jobs and failed entries of all tenants. All operations require the key of an operator.

    While authentication is off, each caller is allowed to use them.
    """

    def __init__(self, jobs: BackgroundJobs, entries: SetAsideEntries, rate_limits: RateLimits) -> None:
        self._jobs = jobs
        self._entries = entries
        self._rate_limits = rate_limits

    def operations(self) -> list[Operation]:
        """Return the REST operations of this class."""
        tag = "operation"
        return [
            Operation(
                "GET", COLLECTION_PATH, "manage_jobs", self.list_jobs, "List background jobs, newest first", tag,
                response_model=wire.JobPage, query_model=wire.JobsQuery,
            ),
            Operation(
                "GET", JOB_PATH, "manage_jobs", self.read_job, "Read a background job with its progress", tag,
                response_model=wire.JobAnswer, refusal_statuses=(404,),
            ),
            Operation(
                "POST", f"{JOB_PATH}/retry", "manage_jobs", self.retry_job, "Queue a failed job again", tag,
                response_model=wire.JobAnswer, body_model=EmptyBody, refusal_statuses=(404, 409),
                is_administrative=True,
            ),
            Operation(
                "GET", ENTRIES_PATH, "manage_failed_entries", self.list_entries,
                "List audit entries that were set aside, the oldest version first", tag,
                response_model=wire.SetAsideList, query_model=wire.SetAsideQuery,
            ),
            Operation(
                "POST", f"{ENTRIES_PATH}/retry", "manage_failed_entries", self.retry_entries,
                "Retry one or all audit entries that were set aside", tag,
                response_model=wire.RetriedEntriesAnswer, body_model=wire.RetrySetAside, refusal_statuses=(404,),
                is_administrative=True,
            ),
        ]  # fmt: skip

    async def list_jobs(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/jobs`: list the background jobs of all tenants, newest first."""
        query = request.read_query(wire.JobsQuery)
        await self._rate_limits.count(request.meter)
        page = await self._jobs.read_page(status=query.status, type_=query.type, cursor=query.cursor, limit=query.limit)
        return RestResponse(orjson.dumps({"data": [*map(job_json, page.items)], "next_cursor": page.next_cursor}))

    async def read_job(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/jobs/{job_id}`: read a background job."""
        job_id = int(request.path_text("job_id"))
        await self._rate_limits.count(request.meter)
        return RestResponse(orjson.dumps({"data": job_json(await self._jobs.read(job_id))}))

    async def retry_job(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/jobs/{job_id}/retry`: queue a failed job again."""
        job_id = int(request.path_text("job_id"))
        await request.read_body(EmptyBody)
        await self._rate_limits.count(request.meter)
        return RestResponse(orjson.dumps({"data": job_json(await self._jobs.retry(job_id))}))

    async def list_entries(self, request: RestRequest) -> RestResponse:
        """Answer `GET /v1/failed-entries`: list audit entries that were set aside."""
        query = request.read_query(wire.SetAsideQuery)
        await self._rate_limits.count(request.meter)
        entries, total = await self._entries.read_oldest(query.limit)
        return RestResponse(orjson.dumps({"data": [*map(entry_json, entries)], "total": total}))

    async def retry_entries(self, request: RestRequest) -> RestResponse:
        """Answer `POST /v1/failed-entries/retry`: retry one or all audit entries that were set aside."""
        body = await request.read_body(wire.RetrySetAside)
        await self._rate_limits.count(request.meter)
        request.act_target = body.entry_id or "all"
        retried = await self._entries.retry(body.entry_id)
        return RestResponse(orjson.dumps({"data": {"retried": retried}}))
