"""Reads of sessions, events and time reports from Postgres, cold storage and the outbox. Changes no session."""
