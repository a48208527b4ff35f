"""A sampled mutation check of the clock: `python -m tests.mutants --help` describes it."""
