"""The revisions of the members of one tenant that were announced to one instance."""


class RevisionTracker:
    """Compares the announced revisions of a tenant with the revision in Postgres. It finds lost announcements."""

    def __init__(self) -> None:
        self._known: int | None = None
        """All revisions up to this one were read or announced. None before the first read."""
        self._later: set[int] = set()
        """Further announced revisions. At least one revision before each of them was not announced yet."""
        self._missing_at: int | None = None
        """The revision in Postgres at the last comparison, if one up to it was not announced then."""

    @property
    def is_empty(self) -> bool:
        """Return whether the tenant never had a member, as far as the instance knows. False before the first read."""
        return self._known == 0 and not self._later

    def note_read(self, revision: int) -> None:
        """Note that rows of this revision were read."""
        self._known = revision if self._known is None else min(self._known, revision)
        self._advance()

    def note_announced(self, revision: int) -> None:
        """Note the announcement of a revision. Announcements can arrive in another order than their revisions."""
        if self._known is None or revision > self._known:
            self._later.add(revision)
        self._advance()

    def has_missed(self, revision: int) -> bool:
        """Return whether an announcement was lost. `revision` is the present one in Postgres.

        A revision that Postgres already had at the last comparison must have been announced since. If one was lost, or
        if Postgres went back, the tracker begins again with `revision`.
        """
        if self._known is None or revision == self._known:
            self._missing_at = None
            return False
        if revision > self._known and (self._missing_at is None or self._missing_at <= self._known):
            self._missing_at = revision
            return False
        self._known, self._missing_at = revision, None
        self._later = {each for each in self._later if each > revision}
        self._advance()
        return True

    def _advance(self) -> None:
        while self._known is not None and self._known + 1 in self._later:
            self._known += 1
            self._later.remove(self._known)
