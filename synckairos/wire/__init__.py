"""Formats: every message, document and record that enters or leaves the process, parsed and rendered. No I/O."""
