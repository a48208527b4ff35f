"""Cold storage: archives of ended sessions as compressed objects in a folder or an object store."""
