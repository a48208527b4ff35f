-- The claim of webhook deliveries reads the oldest pending row of one session, and the next session of an endpoint.
-- The creation reads the table once, so the drain waits for that long.
CREATE INDEX webhook_deliveries_by_session ON webhook_deliveries (endpoint_id, session_id, due_at, sequence)
    WHERE status = 'pending';
