-- A command is replayed from its row to verify the audit, byte for byte. jsonb doesn't keep the order of members, on
-- which the metadata's depends; json is the text as it came.
ALTER TABLE sync_events ALTER COLUMN args TYPE json USING args::text::json;
