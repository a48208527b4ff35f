"""Commands and reads of sessions: load, apply, commit, retry on conflict. Every change goes through this package."""
