"""Lists of one participant's sessions: pages from all stores, current values, the cache and its refresh."""
