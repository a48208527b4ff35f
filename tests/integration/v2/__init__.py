"""Tests of what clients of SyncKairos v2 rely on: its routes, answers and messages."""
