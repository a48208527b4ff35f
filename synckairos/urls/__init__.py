"""Parsers of the URLs of stores. The package opens no connection."""
