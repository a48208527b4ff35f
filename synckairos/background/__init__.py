"""Loops that run in every server process without a request: due deadlines and recovery after data loss."""
