-- The role of the actor on the session, and the participant for which the actor acted. Rows of actors without a
-- credential, of time, and of earlier releases have neither. Earlier releases insert rows without these columns.
ALTER TABLE sync_events
    ADD COLUMN role text,
    ADD COLUMN on_behalf_of uuid;
