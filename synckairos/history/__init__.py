"""Reads of past state and events from Postgres, cold storage and the outbox. Changes nothing."""
