"""Composition roots: what each operating-system process (server, worker, dev) is made of."""
