"""Network link with limited bandwidth between a server and its clients: a shaped veth pair into a network namespace.

Loopback transfers about 25 Gbit/s, more than the network of most servers. On loopback, a comparison of a server that
sends few bytes with a server that sends many bytes therefore favours the second server.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MIN_BURST_BYTES = 256 * 1024
"""Bytes that the link can send without delay after a pause. The kernel sends up to 64 KiB in one piece."""

QUEUED_MS = 10_000
"""Maximum milliseconds that a packet waits before it is dropped. The limit is so high that no packet is dropped.

A thousand connections that fill a short queue at the same time would lose packets, and TCP would delay some connections
by seconds. With a long queue, bytes cost only their time on the link.
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A link: the server's address, and the prefix for commands that run on the far side."""

    host: str
    far_side: tuple[str, ...]


LOOPBACK = Link("127.0.0.1", ())


@contextmanager
def create_link(gbit_per_s: float) -> Iterator[Link]:
    """Create a link that limits the bandwidth from the server to the far side. Remove the link at the end.

    The other direction has no limit. The addresses are from the block for benchmarks, 198.18.0.0/15 (RFC 2544).

    Raises: SystemExit without root or iproute2, or if the kernel cannot shape traffic.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        sys.exit("a link needs root, and `ip` and `tc` (apt-get install iproute2)")
    number = os.getpid() % 2**14
    near, far, namespace = f"skn{number}", f"skf{number}", f"synckairos{number}"
    block = f"198.18.{number >> 6}"
    first = (number & 63) << 2
    burst = max(MIN_BURST_BYTES, int(gbit_per_s * 1e9 / 8 / 1000))
    _run(f"ip netns add {namespace}")
    try:
        _run(f"ip link add {near} type veth peer name {far} netns {namespace}")
        _run(f"ip addr add {block}.{first + 1}/30 dev {near}")
        _run(f"ip -n {namespace} addr add {block}.{first + 2}/30 dev {far}")
        _run(f"ip link set {near} up")
        _run(f"ip -n {namespace} link set {far} up")
        _run(f"tc qdisc add dev {near} root tbf rate {gbit_per_s * 1000:.0f}mbit burst {burst} latency {QUEUED_MS}ms")
        yield Link(f"{block}.{first + 1}", ("ip", "netns", "exec", namespace))
    finally:
        _run(f"ip netns del {namespace}")  # deletes the veth pair with the namespace


def _run(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{command}` failed: {done.stderr.strip()}")
