"""Says aloud when the audit falls behind, once a threshold, and when it has caught up."""

from synckairos import log
from synckairos.audit import metrics
from synckairos.store.outbox import Backlog

THRESHOLDS_S = (10, 60, 300, 1800)
"""Ages of the oldest entry, in seconds, each of which is announced once on the way up."""

_log = log.get(__name__)


class LagWatch:
    """Remembers which threshold was announced last."""

    def __init__(self) -> None:
        self._announced = 0
        self._set_aside = 0

    def see(self, backlog: Backlog) -> None:
        """Publish a measured backlog, and log what changed for the worse or is good again."""
        metrics.show(backlog)
        age_s = backlog.oldest_age_ms / 1000
        reached = sum(age_s >= threshold for threshold in THRESHOLDS_S)
        if reached > self._announced:
            _log.warning("audit lags", entries=backlog.entries, oldest_age_s=round(age_s, 1))
            self._announced = reached
        elif not reached and self._announced:
            _log.info("audit has caught up", entries=backlog.entries)
            self._announced = 0
        if backlog.set_aside > self._set_aside:
            _log.error("audit entries wait for somebody: see `synckairos audit failed`", entries=backlog.set_aside)
        self._set_aside = backlog.set_aside
