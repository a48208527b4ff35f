"""REST: routes, requests, responses and their descriptions."""
