"""Descriptions of the WebSocket close codes, for AsyncAPI. `realtime` selects the close code of a connection."""

V3_CLOSE_CODES = {
    1002: "the client sent an invalid WebSocket frame",
    1007: "the client sent a text that is not valid UTF-8",
    1008: "the client sent too many messages",
    4000: "the server stops, the connection is too old, or an administrator disconnected it; reconnect, after the "
    "`retry_after_ms` of the GOAWAY message if there was one",
    4001: "the client reads too slowly: its queue is full, or it read nothing for 15 s; reconnect",
    4002: "the client sent nothing, not even a pong; reconnect",
    4005: "the token expired; reconnect with a new token",
    4501: "the token was refused or revoked, or a REFRESH had another identity; do not reconnect with it",
    4503: "an operator suspended the tenant of the token; do not reconnect",
    4504: "the session does not exist and there is no other subscription; do not reconnect",
    4510: "the session was deleted and there is no other subscription; do not reconnect",
    4513: "the client sent a message larger than 64 KiB; do not reconnect",
    4520: "too many connections to this server, or from this address; do not reconnect",
}
"""Close codes of `synckairos.v3`. Clients reconnect after 4000 to 4499 and do not reconnect after 4500 to 4999."""

V2_CLOSE_CODES = {
    1000: "the session was deleted",
    1001: "the server stops, or the client sent nothing for too long",
    1002: "the client sent an invalid WebSocket frame",
    1007: "the client sent a text that is not valid UTF-8",
    1008: "the `sessionId` is missing or invalid, the client sent too many messages, or it has no valid token",
    1009: "the client sent a message larger than 64 KiB",
    1013: "the client reads too slowly",
}
"""Close codes of the v2 dialect."""
