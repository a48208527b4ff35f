"""Commands on sessions and reads of sessions: load, apply, commit, retry after a conflict.

Every change of a session uses this package.
"""
