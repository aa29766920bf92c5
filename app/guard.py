"""The door: requests with credentials come in, others are told how to (RFC 7644 section 2)."""

from flask import Blueprint, g, request

from app.auth import Authenticator
from app.protocol.errors import Refusal


def protect(blueprint: Blueprint, authenticator: Authenticator) -> None:
    """Let only requests with valid credentials reach the views of `blueprint`."""

    def authenticate() -> None:
        principal = authenticator.principal(request.environ)
        if principal is None:
            raise Refusal(401, "the request needs a valid bearer token or x-api-key")
        g.principal = principal

    blueprint.before_request(authenticate)


def current_profile() -> str:
    """Return the profile of the principal of this request."""
    profile: str = g.principal.profile
    return profile
