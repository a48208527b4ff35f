"""Ports for programs that need their port before they start."""

import random
import socket

FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Range of the ports. It is below the range from which the kernel takes the ports of outgoing connections."""


def free_port() -> int:
    """Return a port of loopback that no program uses now.

    The port is random, so two test runs get the same port at the same time only by chance.
    """
    while True:
        port = random.randrange(FIRST_PORT, LAST_PORT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
