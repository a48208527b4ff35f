"""Revocations: credentials that end before their expiry. Every instance gets them through the control channel."""
