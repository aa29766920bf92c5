"""The documents of an issuer: its metadata, and the keys that they name (OpenID Discovery, RFC 8414)."""

import time
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import orjson

from app.protocol.trust import is_protected
from storage.remote.connections import Connections, Failed

TIMEOUT_S: Final = 5.0
"""The time for the documents together."""

_MAX_BYTES: Final = 1 << 20
_PIECE: Final = 1 << 16
_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


class Unusable(Exception):
    """The issuer cannot be reached, or its documents cannot be used; the text has no secret."""


class IssuerDocuments:
    """Fetches the documents of one issuer, each at most 1 MiB long. Redirects are not followed."""

    def __init__(self, issuer: str, timeout_s: float = TIMEOUT_S) -> None:
        self.issuer = issuer
        self._timeout_s = timeout_s
        # No credential: what an issuer publishes is for everybody.
        self._connections = Connections(f"the issuer {issuer}", ("", ""), 1)

    def fetch_keys(self) -> list[Any]:
        """Return the keys that the issuer publishes now, as JWKs. Raises Unusable."""
        deadline = time.monotonic() + self._timeout_s
        try:
            url = self._metadata(deadline).get("jwks_uri")
            if not isinstance(url, str) or not is_protected(url) or not url.isprintable():
                raise Unusable("jwks_uri is not an https URL")
            keys = self._document(url, deadline).get("keys")
        except Failed as exc:
            raise Unusable(str(exc)) from exc
        finally:
            # Minutes pass until the next time.
            self._connections.close()
        if not isinstance(keys, list):
            raise Unusable(f"{url} has no list of keys")
        return keys

    def _metadata(self, deadline: float) -> dict[str, Any]:
        """Return the metadata, which name this issuer and no other one (RFC 8414 section 3.3)."""
        first, second = well_known(self.issuer)
        try:
            found = self._document(first, deadline)
        except _NotThere:
            found = self._document(second, deadline)
        if found.get("issuer") != self.issuer:
            raise Unusable("its metadata name another issuer")
        return found

    def _document(self, url: str, deadline: float) -> dict[str, Any]:
        with self._answer(url, deadline) as answer:
            if 400 <= answer.status_code < 500:
                raise _NotThere(f"{url} answered with status {answer.status_code}")
            if answer.status_code != 200:
                raise Unusable(f"{url} answered with status {answer.status_code}")
            body = self._body(answer, url)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as exc:
            raise Unusable(f"{url} is not JSON") from exc
        if not isinstance(document, dict):
            raise Unusable(f"{url} is not a JSON object")
        return document

    def _answer(self, url: str, deadline: float) -> Any:
        headers = {"Accept": "application/json"}
        try:
            return self._connections.request("GET", url, deadline, headers=headers)
        except Failed as failed:
            if not failed.passes:
                raise
            # Issuers close connections between two requests.
            return self._connections.request("GET", url, deadline, headers=headers)

    def _body(self, answer: Any, url: str) -> bytes:
        body = b""
        with self._connections.translated():
            while piece := answer.raw.read1(_PIECE, decode_content=True):
                body += piece
                if len(body) > _MAX_BYTES:
                    raise Unusable(f"{url} has more than {_MAX_BYTES} bytes")
        return body


class _NotThere(Unusable):
    """The issuer has no such document."""


def well_known(issuer: str) -> tuple[str, str]:
    """Return the URLs of the metadata: of OpenID Discovery section 4, and of RFC 8414 section 3."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    openid, oauth = (urlunsplit((*parts[:2], one, "", "")) for one in (path + _OPENID, _OAUTH + path))
    return openid, oauth
