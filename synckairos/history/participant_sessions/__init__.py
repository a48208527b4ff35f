"""Lists of the sessions of one participant: pages from all stores, current values, and the cache in Redis."""
