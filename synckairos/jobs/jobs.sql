-- Statements of the job table. The table is the source of truth; a message in the arq queue only starts a job sooner. A
-- worker has a lease on the job that it runs. Each change of a running job therefore names the worker and the attempt.

-- name: add
-- A tenant whose deletion was requested gets no more jobs.
INSERT INTO background_jobs (tenant, type, params, once)
SELECT %(tenant)s::text, %(type)s::text, %(params)s::jsonb, %(once)s::text
WHERE NOT EXISTS (SELECT FROM sync_tenants WHERE name = %(tenant)s::text AND status IN ('deleting', 'deleted'))
ON CONFLICT (tenant, once) WHERE status IN ('queued', 'running') DO NOTHING
RETURNING job_id, due_at;

-- name: claim
UPDATE background_jobs SET
    status = 'running', attempts = attempts + 1, worker = %(worker)s, started_at = now(), finished_at = NULL,
    duration_ms = NULL, lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE job_id = %(job_id)s AND status = 'queued' AND due_at <= now()
RETURNING job_id, type, params, attempts, worker, tenant;

-- name: renew_lease
UPDATE background_jobs SET lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE job_id = %(job_id)s AND status = 'running' AND worker = %(worker)s AND attempts = %(attempts)s
RETURNING job_id;

-- name: save_progress
UPDATE background_jobs SET result = %(result)s
WHERE job_id = %(job_id)s AND status = 'running' AND worker = %(worker)s AND attempts = %(attempts)s
RETURNING job_id;

-- name: complete
WITH ended AS (
    UPDATE background_jobs SET
        status = 'done', result = %(result)s, error = NULL, lease_until = NULL, finished_at = now(),
        duration_ms = extract(epoch FROM now() - started_at) * 1000
    WHERE job_id = %(job_id)s AND status = 'running' AND worker = %(worker)s AND attempts = %(attempts)s
    RETURNING job_id, type, duration_ms
),
counted AS (
    INSERT INTO job_tally AS t (type, outcome, attempts, busy_ms) SELECT type, 'done', 1, duration_ms FROM ended
    ON CONFLICT (type, outcome) DO UPDATE SET attempts = t.attempts + 1, busy_ms = t.busy_ms + excluded.busy_ms
)
SELECT job_id FROM ended;

-- name: fail
-- Queue the job again. If no further attempt is allowed, or if for_good is true, the job fails instead.
WITH ended AS (
    UPDATE background_jobs SET
        status = CASE WHEN attempts < %(max_attempts)s AND NOT %(for_good)s THEN 'queued' ELSE 'failed' END::job_status,
        due_at = now() + make_interval(secs => %(retry_in_s)s),
        error = %(error)s, result = coalesce(%(result)s, result), lease_until = NULL, finished_at = now(),
        duration_ms = extract(epoch FROM now() - started_at) * 1000
    WHERE job_id = %(job_id)s AND status = 'running' AND worker = %(worker)s AND attempts = %(attempts)s
    RETURNING status, type, duration_ms
),
counted AS (
    INSERT INTO job_tally AS t (type, outcome, attempts, busy_ms) SELECT type, 'failed', 1, duration_ms FROM ended
    ON CONFLICT (type, outcome) DO UPDATE SET attempts = t.attempts + 1, busy_ms = t.busy_ms + excluded.busy_ms
)
SELECT status::text FROM ended;

-- name: release
-- Queue the job of a worker that stops. The interrupted attempt does not count.
UPDATE background_jobs SET
    status = 'queued', attempts = attempts - 1, due_at = now(), worker = NULL, lease_until = NULL, started_at = NULL
WHERE job_id = %(job_id)s AND status = 'running' AND worker = %(worker)s AND attempts = %(attempts)s
RETURNING job_id;

-- name: reclaim_abandoned
-- End the attempts with expired leases. The worker of an expired lease counts as dead.
WITH ended AS (
    UPDATE background_jobs SET
        status = CASE WHEN attempts < %(max_attempts)s THEN 'queued' ELSE 'failed' END::job_status,
        due_at = now(), lease_until = NULL, finished_at = now(), error = 'its worker, ' || worker || ', died'
    WHERE status = 'running' AND lease_until < now()
    RETURNING job_id, type, status, attempts, error
),
counted AS (
    INSERT INTO job_tally AS t (type, outcome, attempts, busy_ms)
    SELECT type, 'died', count(*), 0 FROM ended GROUP BY type
    ON CONFLICT (type, outcome) DO UPDATE SET attempts = t.attempts + excluded.attempts
)
SELECT job_id, type, status::text, attempts, error FROM ended;

-- name: due_jobs
SELECT job_id, due_at, extract(epoch FROM now() - due_at)::float8
FROM background_jobs
WHERE status = 'queued' AND due_at <= now()
ORDER BY due_at, job_id
LIMIT %(limit)s;

-- name: retry
UPDATE background_jobs SET
    status = 'queued', attempts = 0, due_at = now(), error = NULL, worker = NULL, started_at = NULL, finished_at = NULL,
    duration_ms = NULL
WHERE job_id = %(job_id)s AND status = 'failed'
RETURNING due_at;

-- name: list_jobs_of_tenant
SELECT
    job_id, tenant, type, params, status::text, attempts, result, error, worker, created_at, due_at, started_at, finished_at,
    duration_ms
FROM background_jobs
WHERE tenant = %(tenant)s AND type = %(type)s AND job_id < %(before_id)s
ORDER BY job_id DESC
LIMIT %(limit)s;

-- name: find_scheduled
SELECT tenant FROM background_jobs WHERE type = %(type)s AND params ->> 'scheduled_for' = %(scheduled_for)s;

-- name: delete_ended
DELETE FROM background_jobs
WHERE status IN ('done', 'failed') AND finished_at < now() - make_interval(days => %(days)s);

-- name: get
SELECT
    job_id, tenant, type, params, status::text, attempts, result, error, worker, created_at, due_at, started_at, finished_at,
    duration_ms
FROM background_jobs
WHERE job_id = %(job_id)s;

-- name: list_jobs
SELECT
    job_id, tenant, type, params, status::text, attempts, result, error, worker, created_at, due_at, started_at, finished_at,
    duration_ms
FROM background_jobs
WHERE (%(status)s::job_status IS NULL OR status = %(status)s::job_status)
    AND (%(type)s::text IS NULL OR type = %(type)s::text)
    AND job_id < %(before_id)s
ORDER BY job_id DESC
LIMIT %(limit)s;

-- name: queue_depths
SELECT
    type, status::text, count(*),
    coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'queued')), 0)::float8
FROM background_jobs
GROUP BY 1, 2;

-- name: attempt_tally
SELECT type, outcome, attempts, busy_ms FROM job_tally;
