"""Headers of the pages: content security policy, referrer policy and caching."""

from collections.abc import Sequence


def build_page_headers(frame_ancestors: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Return the headers of all responses under `/docs`, `/demo` and the pages of sessions.

    `frame_ancestors` are the origins whose pages are allowed to show these pages in a frame. If it is empty, no page is
    allowed to.
    """
    ancestors = " ".join(frame_ancestors) or "'none'"
    policy = (
        "default-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {ancestors}"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        # The modules of a page must be of one release, so a browser must ask whether its copies are still current.
        (b"cache-control", b"no-cache"),
    ]
