-- online: each paragraph is a transaction of its own, and can run again.
--
-- Links and session tokens are stored credentials. A link has `uses` of at most `max_uses`; each use makes a session
-- token, whose parent is the link. A session token expires `idle_s` seconds after its last use, and at `ends_at` at the
-- latest: each stored use moves `expires_at`, so that the queries of earlier releases find the end too. `issued_at` is
-- the instant at which its parent was made, so that a revocation of earlier credentials also covers the token.
ALTER TABLE sync_credentials
    ADD COLUMN IF NOT EXISTS session_id uuid,
    ADD COLUMN IF NOT EXISTS max_uses   integer,
    ADD COLUMN IF NOT EXISTS uses       integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS idle_s     integer,
    ADD COLUMN IF NOT EXISTS ends_at    timestamptz,
    ADD COLUMN IF NOT EXISTS issued_at  timestamptz;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_credentials_by_session
    ON sync_credentials (tenant, session_id, sequence) WHERE session_id IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS sync_credentials_by_expiry ON sync_credentials (tenant, kind, expires_at);
