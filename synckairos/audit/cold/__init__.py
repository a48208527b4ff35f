"""Cold storage: finished sessions as compressed objects, and the way back."""
