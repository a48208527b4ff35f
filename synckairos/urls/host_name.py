"""Check of a host name in a URL."""


def can_be_looked_up(host: str) -> bool:
    """Return whether a resolver accepts the host name. An empty name and an address count as accepted.

    A resolver refuses a name with an empty label, such as `db..internal`, and a label of more than 63 characters.
    Python raises UnicodeError for such a name when it connects, and not OSError as for a name that does not exist.
    """
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
