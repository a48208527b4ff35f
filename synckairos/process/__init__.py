"""Operating-system processes `server`, `worker` and `dev`: each module builds one process from its components."""
