-- Sessions with individual clocks, and events that concern several participants. Earlier releases insert rows without
-- this column, and write no sessions in this mode.
ALTER TYPE sync_mode ADD VALUE IF NOT EXISTS 'individual';
ALTER TABLE sync_events ADD COLUMN participant_ids json;
