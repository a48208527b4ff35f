"""Stored credentials: opaque secrets whose SHA-256 is a row in Postgres. API keys, links and session tokens."""
