"""An issuer of access tokens: its published keys, fetched when needed and kept while it is down."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from app.auth.issuer_documents import IssuerDocuments, Unusable
from app.auth.published_keys import PublishedKey, read_keys
from storage.forks import in_child

_LOG = logging.getLogger(__name__)

# Keys are fetched again after this time, and never twice within the floor.
REFRESH_S: Final = 600.0
FLOOR_S: Final = 30.0


class Issuer:
    """The keys of one issuer in this process; threads share it.

    Keys that are known stay in use while the issuer cannot be reached, for `max_age_s` seconds at most.
    `clock` counts seconds.
    """

    def __init__(
        self,
        documents: IssuerDocuments,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = documents.issuer
        self._documents = documents
        self._max_age_s = max_age_s
        self._clock = clock
        self._keys: tuple[PublishedKey, ...] = ()
        # When the last fetch began, when the last one that succeeded ended, and when the next one is due.
        self._tried_at: float | None = None
        self._fetched_at = 0.0
        self._due_at = 0.0
        self.is_down = False
        self._begin()
        in_child(self._begin)

    def _begin(self) -> None:
        self._fetching = threading.Lock()

    def keys(self, kid: str | None, algorithm: str) -> tuple[PublishedKey, ...]:
        """Return the known keys that a token may be signed with. Waits for nothing.

        With `kid`, these are the keys of this id; without, all of them.
        """
        return tuple(
            key for key in self._keys if algorithm in key.algorithms and (kid is None or key.kid == kid)
        )

    def refresh_if_due(self) -> None:
        """Have a thread fetch the keys anew from time to time; wait for it only if they are too old."""
        now = self._clock()
        if now < self._due_at or not self._keys:
            return
        if self._are_too_old(now):
            self.renew()
            return
        # One thread is enough: the others see the time of the next attempt.
        self._due_at = now + FLOOR_S
        threading.Thread(target=self.renew, name=f"keys of {self.url}", daemon=True).start()

    def renew(self) -> None:
        """Fetch the keys, unless that was tried within the floor. Waits for one fetch at most.

        A thread that comes while another one fetches waits for that fetch.
        """
        with self._fetching:
            now = self._clock()
            if self._tried_at is None or now - self._tried_at >= FLOOR_S:
                self._tried_at = now
                self._fetch()
            if self._keys and self._are_too_old(self._clock()):
                _LOG.error("the keys of the issuer %s are too old and no longer used", self.url)
                self._publish(())

    def _fetch(self) -> None:
        try:
            documents = self._documents.fetch_keys()
        except Unusable as exc:
            self.is_down = True
            self._due_at = self._clock() + FLOOR_S
            _LOG.warning("the keys of the issuer %s cannot be fetched: %s", self.url, exc)
            return
        self._publish(read_keys(documents, self._keys))
        self.is_down = False
        self._fetched_at = self._clock()
        self._due_at = self._fetched_at + REFRESH_S

    def _are_too_old(self, now: float) -> bool:
        return now - self._fetched_at > self._max_age_s

    def _publish(self, keys: tuple[PublishedKey, ...]) -> None:
        known, self._keys = self._keys, keys
        for key in known:
            key.is_published = key in keys
