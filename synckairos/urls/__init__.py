"""Readers of the URLs of stores. They open no connection."""
