"""WebSocket connections of an instance, and the fan-out of the updates of all instances to their watchers."""
