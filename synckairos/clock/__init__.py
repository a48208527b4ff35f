"""The clock: pure rules of timed sessions. Calculate, don't count.

`apply(state, command, now_ms)` turns a state, a command and an instant into transitions, each one fact.
No I/O, no clock read, no ids made, nothing mutated: the standard library, `errors` and `quick` are all it knows.
"""
