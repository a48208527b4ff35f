"""The second door: sockets. Watchers hear of every version, by whichever instance it was committed."""
