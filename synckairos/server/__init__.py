"""uvicorn with bounded HTTP and WebSocket protocols, used by REST and by the WebSocket endpoint."""
