"""What a token says of the client that sent it, and the chain of the kinds of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from app.protocol.context import Principal


@dataclass(frozen=True, slots=True)
class Known:
    """A client whose credentials are valid.

    `profile` names the tolerances that the client is granted (`app.protocol.profiles`). The client may
    call from an address in one of `networks`, or from anywhere if there is none. `rate` is how often it
    may ask, such as `25/s`, None for what RATE_LIMIT says.
    """

    principal: Principal
    profile: str
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    rate: str | None = None


class Credentials(Protocol):
    """One kind of credentials."""

    def known(self, token: str) -> Known | None:
        """Return the client that a token belongs to, None for a token of another kind.

        `token` holds the bytes of the header as Latin-1 text, as WSGI hands them over. Raises InvalidToken
        for a token of this kind that is not valid, and StorageUnavailable if nobody can say.
        """


class Chain:
    """Asks each kind of credentials in turn."""

    def __init__(self, kinds: Sequence[Credentials]) -> None:
        self._kinds = tuple(kinds)

    def known(self, token: str) -> Known | None:
        """Return the client that a token belongs to, None for an unknown one. Raises as `Credentials`."""
        for kind in self._kinds:
            known = kind.known(token)
            if known is not None:
                return known
        return None
