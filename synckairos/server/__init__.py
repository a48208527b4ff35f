"""uvicorn server with HTTP and WebSocket protocols that limit the size and the duration of requests."""
