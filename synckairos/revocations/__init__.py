"""Revocations: credentials that ended early, known to every instance through the numbered control channel."""
