"""Audit: writes each committed version from the outbox to Postgres exactly once, and verifies the rows by replay."""
