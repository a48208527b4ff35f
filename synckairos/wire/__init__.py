"""Bytes to objects and back: every shape that enters or leaves the process. No I/O."""
