"""Pure rules of timed sessions. Readings are calculated from facts; nothing counts.

`apply(state, command, now_ms)` turns a state, a command and an instant into transitions. Each transition is one fact.
The package does no I/O, reads no clock, makes no ids and mutates nothing. It imports only the standard library,
`msgspec`, `errors` and `frozen_replace`.
"""
