"""What a principal may do, asked once for each operation (RFC 7644 section 7.4).

An action that no scope allows is refused.
"""

from typing import Final, Literal

from app.protocol.context import Context
from app.protocol.errors import Refusal
from schema.resource_type import ResourceType

Action = Literal["read", "create", "replace", "patch", "delete"]

_SCOPE: Final[dict[Action, str]] = {
    "read": "scim.read",
    "create": "scim.write",
    "replace": "scim.write",
    "patch": "scim.write",
    "delete": "scim.write",
}


def authorize(context: Context, action: Action, resource_type: ResourceType) -> None:
    """Return if the principal may do `action` with resources of the type. Raises Refusal 403."""
    scope, scopes = _SCOPE[action], context.principal.scopes
    if scope not in scopes and f"{scope}:{resource_type.name}" not in scopes:
        raise Refusal(403, f"the credentials do not include the scope {scope} for {resource_type.name}")
