"""Reads of past states and events from Postgres, cold storage and the outbox. Changes no session."""
