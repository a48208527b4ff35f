"""The wire: bytes to objects and back, every shape that enters or leaves the process, once. Pure."""
