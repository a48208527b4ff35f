"""Limits of rates and of work: pure arithmetic, and the one list of all units of work."""
