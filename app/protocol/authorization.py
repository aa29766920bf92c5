"""What a principal may do, asked once for each operation (RFC 7644 section 7.4).

An action that no scope allows is refused.
"""

from typing import Final, Literal

from app.protocol.context import Context, Principal
from app.protocol.errors import InsufficientScope
from schema.resource_type import ResourceType

Action = Literal["read", "create", "replace", "patch", "delete"]

_SCOPE: Final[dict[Action, str]] = {
    "read": "scim.read",
    "create": "scim.write",
    "replace": "scim.write",
    "patch": "scim.write",
    "delete": "scim.write",
}


def is_allowed(context: Context, action: Action, resource_type: ResourceType) -> bool:
    """Return whether the principal may do `action` with resources of the type."""
    scope, scopes = _SCOPE[action], context.principal.scopes
    return scope in scopes or f"{scope}:{resource_type.name}" in scopes


def authorize(context: Context, action: Action, resource_type: ResourceType) -> None:
    """Return if the principal may do `action` with resources of the type. Raises InsufficientScope."""
    if not is_allowed(context, action, resource_type):
        raise InsufficientScope(_SCOPE[action], resource_type.name)


def require(principal: Principal, scope: str) -> None:
    """Return if the principal has a scope, if only for one resource type. Raises InsufficientScope."""
    scopes = principal.scopes
    if scope not in scopes and not any(one.startswith(f"{scope}:") for one in scopes):
        raise InsufficientScope(scope)
