"""The REST interface: ASGI application, routes, requests and responses, API descriptions and web pages."""
