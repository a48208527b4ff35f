"""Cold storage: writes and reads ended sessions as compressed objects."""
