"""REST API of an instance: ASGI application, routes, requests and responses, API descriptions and web pages."""
