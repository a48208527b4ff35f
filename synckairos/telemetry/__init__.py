"""Logs, metrics and operator alerts."""
