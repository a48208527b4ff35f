"""Webhooks: endpoints, the queue of deliveries, and the dispatcher that sends signed messages."""
