"""Named tokens, as a process that serves requests knows them: the tables behind a cache."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.auth.known import Known
from app.auth.token_table import Secret, Token, TokenTable
from app.auth.token_text import PREFIX, digest_of, is_token
from app.auth.uses import Uses
from app.protocol.context import Principal
from app.protocol.errors import InvalidToken
from set_delivery.clock import now_ms
from storage.errors import StorageError, StorageUnavailable

_LOG = logging.getLogger(__name__)

REFRESH_S: Final = 2.0
"""A process asks this often, in seconds, whether tokens were changed: so long a revoked one may be valid."""
GRACE_S: Final = 60.0
"""Without the state database, the tokens that were valid go on for this long, in seconds."""
# Behind a database that is slow, a request waits so long for others that ask it.
_WAIT_S: Final = 5.0
_NEVER_MS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Valid:
    """A secret that was valid when it was read."""

    known: Known
    expires_at: int
    ends_at: int


class NamedTokens:
    """Knows named tokens.

    A valid token stays in the cache until any token is changed. One thread at a time asks the database;
    meanwhile the others go on with the cache, and with it for GRACE_S if the database does not answer.
    """

    def __init__(
        self,
        table: TokenTable,
        uses: Uses,
        clock_s: Callable[[], float] = time.monotonic,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._table = table
        self._uses = uses
        self._clock_s = clock_s
        self._clock_ms = clock_ms
        self._valid: dict[str, _Valid] = {}
        self._number: int | None = None
        self._confirmed_s = float("-inf")
        self._asked_s = float("-inf")
        self._asking = threading.Lock()

    def known(self, token: str) -> Known | None:
        """Return the client that has a named token, None for a text of another form.

        Raises InvalidToken and StorageUnavailable.
        """
        if not token.startswith(PREFIX):
            return None
        digest = digest_of(token)
        valid = self._valid.get(digest)
        if valid is None or self._clock_s() >= self._asked_s + REFRESH_S:
            if valid is None and not is_token(token):
                return None
            valid = self._asked(digest, is_known=valid is not None)
        now = self._clock_ms()
        if now >= valid.expires_at:
            raise InvalidToken("the token has expired")
        if now >= valid.ends_at:
            raise InvalidToken("the token was replaced by another one")
        self._uses.note(digest, now)
        return valid.known

    def _asked(self, digest: str, is_known: bool) -> _Valid:
        """Return a valid token, with the database asked about changes where that is due."""
        is_fresh = is_known and self._clock_s() < self._confirmed_s + GRACE_S
        if not self._asking.acquire(timeout=0 if is_fresh else _WAIT_S):
            valid = self._valid.get(digest)
            if is_fresh and valid is not None:
                return valid
            raise StorageUnavailable("other requests wait for the state database with the tokens")
        try:
            self._refresh()
            return self._valid.get(digest) or self._read(digest)
        finally:
            self._asking.release()

    def _refresh(self) -> None:
        """Empty the cache if a token was changed, unless that was asked a moment ago."""
        now = self._clock_s()
        if now < self._asked_s + REFRESH_S:
            return
        try:
            number = self._table.number()
        except StorageError as problem:
            if now >= self._confirmed_s + GRACE_S:
                self._valid = {}
                raise StorageUnavailable(f"the tokens cannot be read: {problem}") from problem
            self._asked_s = now
            _LOG.warning("the tokens cannot be read; the valid ones go on for now: %s", problem)
            return
        if number != self._number:
            self._valid = {}
        self._number, self._confirmed_s, self._asked_s = number, now, now

    def _read(self, digest: str) -> _Valid:
        try:
            token = self._table.find(digest)
        except StorageError as problem:
            raise StorageUnavailable(f"the tokens cannot be read: {problem}") from problem
        if token is None:
            raise InvalidToken("the token is unknown")
        if token.revoked_at is not None:
            raise InvalidToken("the token was revoked")
        valid = _valid(token, token.secrets[0])
        # An expired one is read again each time: it may expire later after a rotation, which is a change.
        self._valid[digest] = valid
        return valid


def principal_of(token: Token, secret: Secret | None = None) -> Principal:
    """Return the principal of a token; its credential is the secret that it came with."""
    credential = f"{token.chosen.name} {secret.digest[:8]}" if secret is not None else token.chosen.name
    chosen = token.chosen
    return Principal(
        token.id, chosen.name, "token", chosen.scopes, credential, chosen.user, chosen.own_only
    )


def _valid(token: Token, secret: Secret) -> _Valid:
    chosen = token.chosen
    return _Valid(
        Known(principal_of(token, secret), chosen.profile, chosen.networks, chosen.rate),
        _NEVER_MS if chosen.expires_at is None else chosen.expires_at,
        _NEVER_MS if secret.ends_at is None else secret.ends_at,
    )
