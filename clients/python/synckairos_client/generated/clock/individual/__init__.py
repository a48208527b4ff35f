"""Copies of modules of the server, written by `make python-client`. Do not edit."""
