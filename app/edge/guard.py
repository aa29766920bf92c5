"""The door: only requests with credentials come in, and others are told how to (RFC 7644 section 2)."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from flask import Flask, g, request

from app.auth.known import Credentials, Known
from app.auth.limits import RequestLimits
from app.edge.access import ROOT, Access
from app.edge.headers import asks_for
from app.edge.responses import SCIM_JSON
from app.protocol.authorization import require
from app.protocol.context import Context
from app.protocol.errors import InvalidToken, Refusal
from app.protocol.failed_logins import FailedLogins
from app.protocol.profiles import Profile, profile_of
from telemetry.current import Activity, current

METRICS: Final = "Metrics.Metrics"
_VARIABLE: Final = re.compile(r"<(?:\w+:)?(\w+)>")


class Guard:
    """Knows who sent a request by its credentials, and whether that client may use an endpoint.

    `failed_logins`, if any, count the requests whose client may not come in. `metrics_token` opens /metrics
    and nothing else; an empty one opens nothing.
    """

    def __init__(
        self,
        credentials: Credentials,
        access: Access,
        limits: RequestLimits,
        failed_logins: FailedLogins | None = None,
        metrics_token: str = "",
    ) -> None:
        self._credentials = credentials
        self._access = access
        self._limits = limits
        self._failed_logins = failed_logins
        self._metrics_digest = _digest(metrics_token) if metrics_token else None

    def context(self, environ: Mapping[str, Any]) -> Context:
        """Return who sent a request, which counts as one of the client.

        Raises Refusal 401 when its credentials are not valid, 403 when they are not from its address, and 429
        for a client that asks too often, and for an address with too many invalid credentials.
        """
        token, activity = _token_of(environ), current.get() or Activity("")
        try:
            known = self._known(token)
        except Refusal as refusal:
            self._count_failed(environ, activity, refusal)
            if isinstance(refusal, InvalidToken):
                self._limits.require_patience(activity.address)
                self._limits.failed(activity.address)
            raise
        activity.principal = known.principal.name
        try:
            context = _context(known, activity)
        except Refusal as refusal:
            self._count_failed(environ, activity, refusal)
            raise
        # Last: a token that was stolen must not use up the rate of its client.
        self._limits.admit(known.principal, known.rate)
        return context

    def check(self, environ: Mapping[str, Any], activity: Activity) -> Context:
        """Return as `context` does who sent a request that waits, and that was counted already."""
        return _context(self._known(_token_of(environ)), activity)

    def _count_failed(self, environ: Mapping[str, Any], activity: Activity, refusal: Refusal) -> None:
        if self._failed_logins is not None and refusal.status in (401, 403):
            self._failed_logins.note(activity.address, *_presented(environ))

    def _known(self, token: str) -> Known:
        if not token:
            raise Refusal(401, "the request needs a bearer token or an x-api-key")
        known = self._credentials.known(token)
        if known is None:
            raise InvalidToken("the bearer token or x-api-key of the request is not valid")
        return known

    def install(self, app: Flask) -> None:
        """Let only requests with the scope reach the views of `app` that are not public."""

        @app.before_request
        def authenticate() -> None:
            endpoint = request.endpoint
            _name_route()
            # Without one there is nothing behind the door.
            if endpoint is None or endpoint == ROOT and shows_page():
                return
            scope = self._access.scope(endpoint, request.method)
            if scope is None or endpoint == METRICS and self._opens_metrics(_token_of(request.environ)):
                return
            context = self.context(request.environ)
            require(context.principal, scope)
            g.context = context
            g.check = partial(self.check, request.environ, current.get() or Activity(""))

    def _opens_metrics(self, token: str) -> bool:
        """Return whether a token is METRICS_TOKEN."""
        digest = self._metrics_digest
        return digest is not None and hmac.compare_digest(_digest(token), digest)


def _context(known: Known, activity: Activity) -> Context:
    """Return the context of a request. Raises Refusal 403 for credentials that are not from its address."""
    if known.networks and not _is_in(activity.address, known.networks):
        raise Refusal(403, f"the token is not valid from the address {activity.address}")
    return Context(
        known.principal,
        known.profile,
        activity.address,
        request_id=activity.request_id,
        trace=activity.traceparent,
    )


def _token_of(environ: Mapping[str, Any]) -> str:
    """Return the token of a request: `Authorization: Bearer <token>`, else `x-api-key: <token>`."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer":
        token = environ.get("HTTP_X_API_KEY", "")
    return str(token.strip(" \t"))


def _is_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        # A Unix socket has none.
        return False
    # A socket that takes both kinds shows an IPv4 address as ::ffff:192.0.2.1.
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def _presented(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Return the kind of the credentials of a request, and the credentials where a fingerprint is of use."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return "bearer", token.strip()
    if "HTTP_X_API_KEY" in environ:
        return "x-api-key", environ["HTTP_X_API_KEY"]
    # The password of another scheme, such as Basic, may be short.
    return ("other", "") if scheme else ("none", "")


def _name_route() -> None:
    """Let the request be known by its route, as the description has it: not by its path, with ids."""
    rule, activity = request.url_rule, current.get()
    if rule is not None and activity is not None:
        activity.name = _VARIABLE.sub(r"{\1}", rule.rule)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def shows_page() -> bool:
    """Return whether a request to the root is that of a browser: everybody may see the page."""
    is_search = bool(request.query_string) or request.method not in ("GET", "HEAD")
    return not is_search and not asks_for(request.headers.get("Accept", ""), SCIM_JSON)


def current_context() -> Context:
    """Return who sent this request, and under which rules, once it is authenticated."""
    context: Context = g.context
    return context


def current_check() -> Callable[[], object]:
    """Return what raises a Refusal once the credentials of this request are no longer valid."""
    check: Callable[[], object] = g.check
    return check


def current_profile() -> Profile:
    """Return what the client that sent this request is granted."""
    context: Context = g.context
    return profile_of(context.profile)
