"""Load tests. Results are ratios within one run, printed as lines of JSON. They are not part of the tests."""
