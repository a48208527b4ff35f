"""Pure rules of timed sessions. Calculate, don't count.

`apply(state, command, now_ms)` turns a state, a command and an instant into transitions, each one fact.
No I/O, no clock read, no ids made, nothing mutated. It imports only the standard library, `errors`, `fast_dataclass`.
"""
