"""Commands on sessions and reads of sessions: load, apply, commit, retry after a conflict.

Every change uses this package.
"""
