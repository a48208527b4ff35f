"""Copies of a running store to another Redis."""
