"""Operator commands: the work behind the command-line interface, as lines of text."""
