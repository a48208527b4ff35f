"""Implementation of the operator commands of the command line. Most results are lines of text."""
