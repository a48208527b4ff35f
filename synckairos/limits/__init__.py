"""Limits of rates and of the work of clients: token buckets, budgets, queues, and the list of all units of work."""
