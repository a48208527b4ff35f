"""WebSocket side of an instance: watchers get every version of a session, whichever instance committed it."""
