-- online: each paragraph is a transaction of its own, and can run again.
--
-- The indexes of ended sessions without the tenant. Since the indexes with the tenant exist (0023), no query reads them, and
-- each session that ends writes to them.

DROP INDEX CONCURRENTLY IF EXISTS sync_sessions_finished;

DROP INDEX CONCURRENTLY IF EXISTS sync_sessions_unarchived;
