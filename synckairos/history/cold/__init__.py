"""Cold storage: finished sessions as compressed objects, and reading them back."""
