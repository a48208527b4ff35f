"""Moves every committed version from the outbox to Postgres exactly once, and verifies it by replay."""
