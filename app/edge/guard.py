"""The door: only requests with credentials come in, and others are told how to (RFC 7644 section 2)."""

from typing import Final

from flask import Flask, Response, g, request

from app.edge.headers import asks_for
from app.edge.responses import SCIM_JSON
from app.protocol.authentication import Authenticator
from app.protocol.context import Context
from app.protocol.errors import Refusal
from app.protocol.tolerance import PROFILES, Profile

ROOT: Final = "Search.Root"
# The endpoints that need no credentials, and the blueprints of which no endpoint needs any.
_PUBLIC: Final = frozenset({"api-docs.openapi_json"})
_PUBLIC_BLUEPRINTS: Final = frozenset({"assets", "docs", "Discovery", "Health", "Keys"})


def install_guard(app: Flask, authenticator: Authenticator) -> None:
    """Let only requests with valid credentials reach the views of `app` that are not public."""

    @app.before_request
    def authenticate() -> None:
        """Take note of who sent this request. Raises Refusal 401 when its credentials are not valid."""
        asked = request._get_current_object()  # type: ignore[attr-defined]
        endpoint, environ = asked.endpoint, asked.environ
        # Without one there is nothing behind the door.
        if endpoint is None or endpoint in _PUBLIC or endpoint.partition(".")[0] in _PUBLIC_BLUEPRINTS:
            return
        if endpoint == ROOT and shows_page():
            return
        principal = authenticator.principal(environ)
        if principal is None:
            raise Refusal(401, "the request needs a valid bearer token or x-api-key")
        g.context = Context(
            principal,
            authenticator.profile,
            environ.get("REMOTE_ADDR", ""),
            request_id=environ.get("HTTP_X_REQUEST_ID", "")[:100],
        )

    @app.after_request
    def forbid_sniffing(response: Response) -> Response:
        # A browser takes what clients stored for what it is called, never for a page.
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def shows_page() -> bool:
    """Return whether a request to the root is that of a browser: everybody may see the page."""
    is_search = bool(request.query_string) or request.method not in ("GET", "HEAD")
    return not is_search and not asks_for(request.headers.get("Accept", ""), SCIM_JSON)


def current_context() -> Context:
    """Return who sent this request, and under which rules, once it is authenticated."""
    context: Context = g.context
    return context


def current_profile() -> Profile:
    """Return what the client that sent this request is granted."""
    context: Context = g.context
    return PROFILES[context.profile]
