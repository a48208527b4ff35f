"""Outbox → Postgres and back: every committed version exactly once, and the history that people ask for."""
