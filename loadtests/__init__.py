"""Load tests. They print ratios of figures from one run as lines of JSON. The test suite does not run them."""
