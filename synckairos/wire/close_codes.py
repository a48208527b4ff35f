"""What a socket's close codes mean, for those who read the description. Who closes by one has it from its dialect."""

V3_CLOSE_CODES = {
    1002: "what was sent is no WebSocket frame",
    1007: "a text that isn't UTF-8",
    1008: "too many messages",
    4000: "going away; after the wait that GOAWAY told, come back",
    4001: "too slow: what may not be dropped piled up, or nothing was read; come back",
    4002: "silent: nothing came, no pong either; come back",
    4504: "no such session, and no other subscription; don't come back",
    4510: "the session was deleted, and no other subscription; don't come back",
    4513: "a message of more than 64 KiB; don't come back",
    4520: "too many connections, in all or from this address; don't come back",
}
"""`synckairos.v3`: 4000 to 4499 come back, 4500 to 4999 don't."""

V2_CLOSE_CODES = {
    1000: "the session was deleted",
    1001: "going away, or silent",
    1002: "what was sent is no WebSocket frame",
    1007: "a text that isn't UTF-8",
    1008: "no valid `sessionId`, or too many messages",
    1009: "a message of more than 64 KiB",
    1013: "too slow",
}
