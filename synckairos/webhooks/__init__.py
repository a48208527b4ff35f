"""Webhooks: registry of endpoints, queue of deliveries, and the dispatcher that sends signed messages."""
