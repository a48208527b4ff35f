"""Redaction of URLs: the text of a URL without its secrets."""

import re


def redact_url(url: str) -> str:
    """Return the URL without its secrets.

    The password is replaced by `***`, even if the password is not percent-encoded. The value of each query parameter
    whose name contains `pass`, `secret` or `token` is also replaced by `***`.
    """
    url = re.sub(r"(://[^\s:/?#]*:)\S*@", r"\1***@", url)
    return re.sub(r"([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&\s]*", r"\1***", url, flags=re.IGNORECASE)
