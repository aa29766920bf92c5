"""The door: requests with credentials come in, others are told how to (RFC 7644 section 2)."""

from functools import partial

from flask import Blueprint, g, request

from app.auth import Authenticator, Principal
from app.protocol.clients import set_client
from app.protocol.errors import Refusal
from app.protocol.tolerance import PROFILES, Profile


def protect(blueprint: Blueprint, authenticator: Authenticator) -> None:
    """Let only requests with valid credentials reach the views of `blueprint`."""

    blueprint.before_request(partial(authenticate, authenticator))


def authenticate(authenticator: Authenticator) -> None:
    """Take note of who sent this request. Raises Refusal 401 when its credentials are not valid."""
    principal = authenticator.principal(request.environ)
    if principal is None:
        raise Refusal(401, "the request needs a valid bearer token or x-api-key")
    g.principal = principal
    set_client(principal.name)


def current_principal() -> Principal:
    """Return who sent this request, once it is authenticated."""
    principal: Principal = g.principal
    return principal


def current_profile() -> Profile:
    """Return what the client that sent this request is granted."""
    return PROFILES[current_principal().profile]
