"""Webhooks: what happened, told to HTTP endpoints by the Standard Webhooks rules. Nothing ever waits for one."""
