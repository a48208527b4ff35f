"""uvicorn with bounded HTTP and WebSocket protocols, used by REST and sockets alike."""
