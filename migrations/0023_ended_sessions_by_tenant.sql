-- online: each paragraph is a transaction of its own, and can run again.
--
-- Ended sessions of one tenant by their end, for the jobs that archive and remove the sessions of a tenant. The indexes
-- sync_sessions_finished and sync_sessions_unarchived have no tenant. Workers of earlier releases use them.

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_finished_of_tenant
    ON sync_sessions (tenant, coalesce(deleted_at, completed_at), session_id)
    WHERE coalesce(deleted_at, completed_at) IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_sessions_unarchived_of_tenant
    ON sync_sessions (tenant, coalesce(deleted_at, completed_at), session_id)
    WHERE coalesce(deleted_at, completed_at) IS NOT NULL AND NOT archived;
