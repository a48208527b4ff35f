"""Logs, metrics and alerts of the process."""
