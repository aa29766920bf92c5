"""The tables of named tokens in the state database.

    scim_token(id, name, live_name, scopes, ...)        a row per token; a revoked one keeps its row
    scim_token_secret(digest, token, ...)               the secrets of a token: after a rotation several
    scim_token_change(id, number)                       one row: raised by each change that a cache must see

`live_name` is the name until the token is revoked: unique then, so that a name can be used again. The tables
are made together with the first token, whichever version the other tables have: releases that do not know
them work beside this one. Every statement that ends the validity of a secret raises `number` in its
transaction. The row serialises these transactions, so that a higher number is never committed before a
lower one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final
from uuid import uuid4

import orjson

from app.auth.token_text import digest_of
from app.protocol.audit_log import AuditLog
from app.protocol.context import system
from set_delivery.change_line import shown_time
from set_delivery.clock import now_ms
from set_delivery.database import StateDatabase

Network = IPv4Network | IPv6Network

# The table that is looked for comes last.
_TABLES: Final[Mapping[str, str]] = {
    "scim_token": "id {id} NOT NULL PRIMARY KEY, name {id} NOT NULL, live_name {id}, scopes {long} NOT NULL, "
    "profile {long} NOT NULL, user_id {long}, networks {long} NOT NULL, made_at BIGINT NOT NULL, "
    "own_only SMALLINT NOT NULL, rate VARCHAR(20), expires_at BIGINT, revoked_at BIGINT, UNIQUE (live_name)",
    "scim_token_secret": "digest VARCHAR(64) NOT NULL PRIMARY KEY, token {id} NOT NULL, "
    "made_at BIGINT NOT NULL, ends_at BIGINT, last_used_at BIGINT",
    "scim_token_change": "id INTEGER NOT NULL PRIMARY KEY, number BIGINT NOT NULL",
}
_COLUMNS: Final = (
    "t.id, t.name, t.scopes, t.profile, t.user_id, t.networks, t.made_at, t.expires_at, t.revoked_at, "
    "t.own_only, t.rate"
)


class NoToken(Exception):
    """There is no token of this name that is not revoked."""


class TakenName(Exception):
    """A token that is not revoked has this name."""


@dataclass(frozen=True)
class NewToken:
    """What is chosen for a token; `expires_at` is in milliseconds since 1970, None for never."""

    name: str
    scopes: frozenset[str]
    profile: str
    user: str | None = None
    networks: tuple[Network, ...] = ()
    expires_at: int | None = None
    own_only: bool = False
    rate: str | None = None

    def as_details(self) -> dict[str, Any]:
        """Return what the change log says of it."""
        return {
            "scopes": sorted(self.scopes),
            "profile": self.profile,
            "user": self.user,
            "networks": [str(network) for network in self.networks],
            "expiresAt": shown_time(self.expires_at) if self.expires_at is not None else None,
            "ownOnly": self.own_only,
            "rate": self.rate,
        }


@dataclass(frozen=True)
class Secret:
    """One secret of a token. Its text is not stored; times are in milliseconds since 1970.

    `ends_at` is the end of the overlap of a rotation, None before a rotation.
    """

    digest: str = field(repr=False)
    made_at: int
    ends_at: int | None
    last_used_at: int | None


@dataclass(frozen=True)
class Token:
    """A token as it is stored, with its secrets, the newest first where all of them are read.

    `id` is the id of its principal, and is never used again.
    """

    id: str
    chosen: NewToken
    made_at: int
    revoked_at: int | None
    secrets: tuple[Secret, ...] = ()

    @property
    def last_used_at(self) -> int | None:
        """When the token was used last, as far as that is written by now."""
        return max((one.last_used_at for one in self.secrets if one.last_used_at is not None), default=None)


class TokenTable:
    """Reads and changes named tokens; each change is a row of `audit`, in the same transaction."""

    def __init__(self, database: StateDatabase, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit
        self._is_there = False

    # -- for the server

    def is_there(self) -> bool:
        """Return whether anybody has ever made a token."""
        # A table that is there stays there.
        self._is_there = self._is_there or self._database.has_table("scim_token_change")
        return self._is_there

    def number(self) -> int:
        """Return the number of changes so far: it differs after each change that ends a secret."""
        row = self._database.row("SELECT number FROM scim_token_change") if self.is_there() else None
        return int(row[0]) if row is not None else 0

    def find(self, digest: str) -> Token | None:
        """Return the token with a secret of this digest, and that secret; None if there is none."""
        if not self.is_there():
            return None
        row = self._database.row(
            f"SELECT {_COLUMNS}, s.digest, s.made_at, s.ends_at, s.last_used_at FROM scim_token_secret s "
            "JOIN scim_token t ON t.id = s.token WHERE s.digest = ?",
            (digest,),
        )
        return _token(row[:11], [row[11:]]) if row is not None else None

    def current(self, token_id: str) -> Token | None:
        """Return a token that is not revoked by the id of its principal, without its secrets."""
        if not self.is_there():
            return None
        statement = f"SELECT {_COLUMNS} FROM scim_token t WHERE t.id = ? AND t.revoked_at IS NULL"
        row = self._database.row(statement, (token_id,))
        return _token(row, []) if row is not None else None

    def write_uses(self, uses: Mapping[str, int]) -> None:
        """Write when secrets were used last, by digest, in milliseconds since 1970."""
        with self._database.transaction():
            for digest, at in sorted(uses.items()):
                self._database.run(
                    "UPDATE scim_token_secret SET last_used_at = ? "
                    "WHERE digest = ? AND (last_used_at IS NULL OR last_used_at < ?)",
                    (at, digest, at),
                )

    # -- for operators

    def tokens(self) -> Sequence[Token]:
        """Return every token, the revoked ones too, by name and age."""
        if not self.is_there():
            return []
        secrets: dict[str, list[Any]] = {}
        for token, *secret in self._database.rows(
            "SELECT token, digest, made_at, ends_at, last_used_at FROM scim_token_secret "
            "ORDER BY made_at DESC, digest"
        ):
            secrets.setdefault(token, []).append(secret)
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM scim_token t ORDER BY t.name, t.made_at")
        return [_token(row, secrets.get(row[0], [])) for row in rows]

    def create(self, new: NewToken, secret: str) -> Token:
        """Store a new token with this secret and return it. Raises TakenName."""
        self._make()
        token_id, now = f"token {new.name} {uuid4().hex[:8]}", now_ms()
        with self._database.transaction():
            # First, so that two commands take turns.
            self._changed()
            if self._id_of(new.name) is not None:
                raise TakenName(new.name)
            self._database.run(
                "INSERT INTO scim_token (id, name, live_name, scopes, profile, user_id, networks, made_at, "
                "expires_at, own_only, rate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    token_id,
                    new.name,
                    new.name,
                    " ".join(sorted(new.scopes)),
                    new.profile,
                    new.user,
                    orjson.dumps([str(network) for network in new.networks]).decode(),
                    now,
                    new.expires_at,
                    int(new.own_only),
                    new.rate,
                ),
            )
            self._add_secret(token_id, secret, now)
            self._log("create", token_id, new.as_details())
        return Token(token_id, new, now, None, (Secret(digest_of(secret), now, None, None),))

    def create_first(self, new: NewToken, secret: str) -> bool:
        """Store a token unless there was ever one, and return whether it is stored."""
        if self.is_there() and self._has_any():
            return False
        self._make()
        with self._database.transaction():
            # Another process may be starting at this moment.
            self._changed()
            if self._has_any():
                return False
            self.create(new, secret)
        return True

    def rotate(self, name: str, secret: str, overlap_ms: int, expires_at: int | None = None) -> Token:
        """Give a token another secret; earlier ones end after `overlap_ms`, or sooner if they did before.

        `expires_at` replaces when the token expires, unless it is None. Raises NoToken.
        """
        now = now_ms()
        until = now + overlap_ms
        with self._database.transaction():
            token_id = self._live_id(name)
            self._database.run(
                "UPDATE scim_token_secret SET ends_at = ? "
                "WHERE token = ? AND (ends_at IS NULL OR ends_at > ?)",
                (until, token_id, until),
            )
            if expires_at is not None:
                statement = "UPDATE scim_token SET expires_at = ? WHERE id = ?"
                self._database.run(statement, (expires_at, token_id))
            self._add_secret(token_id, secret, now)
            ends = {"earlierSecretsEnd": until, "expiresAt": expires_at}
            self._log("rotate", token_id, {name: at and shown_time(at) for name, at in ends.items()})
        return next(one for one in self.tokens() if one.id == token_id)

    def revoke(self, name: str) -> None:
        """End a token and all of its secrets. Raises NoToken."""
        with self._database.transaction():
            token_id = self._live_id(name)
            self._database.run(
                "UPDATE scim_token SET revoked_at = ?, live_name = NULL WHERE id = ?", (now_ms(), token_id)
            )
            self._log("revoke", token_id, None)

    # -- what they have in common

    def _live_id(self, name: str) -> str:
        """Return the id of a token, in a transaction that other commands wait for. Raises NoToken."""
        if not self.is_there():
            raise NoToken(name)
        self._changed()
        token_id = self._id_of(name)
        if token_id is None:
            raise NoToken(name)
        return token_id

    def _id_of(self, name: str) -> str | None:
        row = self._database.row("SELECT id FROM scim_token WHERE live_name = ?", (name,))
        return str(row[0]) if row is not None else None

    def _has_any(self) -> bool:
        return self._database.row("SELECT 1 FROM scim_token LIMIT 1") is not None

    def _add_secret(self, token_id: str, secret: str, now: int) -> None:
        self._database.run(
            "INSERT INTO scim_token_secret (digest, token, made_at) VALUES (?, ?, ?)",
            (digest_of(secret), token_id, now),
        )

    def _log(self, change: str, token_id: str, details: Mapping[str, Any] | None) -> None:
        self._audit.append(system(), f"token-{change}", ("Token", token_id), details)

    def _changed(self) -> None:
        self._database.run("UPDATE scim_token_change SET number = number + 1 WHERE id = 1")

    def _make(self) -> None:
        """Make the tables, unless they are there."""
        if not self.is_there():
            self._database.prepare(self._make_tables)

    def _make_tables(self) -> None:
        dialect = self._database.dialect
        dialect.create_tables(self._database, _TABLES)
        self._database.run(dialect.insert_ignoring("scim_token_change", "id, number", "VALUES (1, 0)"))


def _token(row: Sequence[Any], secrets: Sequence[Sequence[Any]]) -> Token:
    token_id, name, scopes, profile, user, networks, made_at, expires_at, revoked_at, own_only, rate = row
    found = tuple(ip_network(network) for network in orjson.loads(networks))
    chosen = NewToken(name, frozenset(scopes.split()), profile, user, found, expires_at, bool(own_only), rate)
    return Token(token_id, chosen, made_at, revoked_at, tuple(Secret(*secret) for secret in secrets))
