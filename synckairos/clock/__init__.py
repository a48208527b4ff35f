"""Pure rules of timed sessions.

`apply(state, command, now_ms)` turns a state, a command and an instant into transitions. Each transition is one fact.
No timer runs: readings are calculated from the facts.

The package does no I/O, reads no clock, makes no ids and changes no argument. It imports only the standard library,
`msgspec`, `errors` and `frozen_replace`.
"""
