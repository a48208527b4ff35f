-- Retention asks for each session whether anybody is still to be told of it: what waits is little among all that was told.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (session_id) WHERE status = 'pending';
