"""Lists of one participant's sessions: pages, live values, cache and summaries."""
