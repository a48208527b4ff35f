"""Writes every committed version from the outbox to Postgres exactly once, and verifies the result by replay."""
