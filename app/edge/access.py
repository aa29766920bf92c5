"""Which scope each endpoint asks for: the only list. An endpoint that is not in it is refused."""

from collections.abc import Collection
from typing import Final

from app.protocol.errors import Refusal

ROOT: Final = "Search.Root"
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

# The endpoints that need no credentials, and the blueprints of which no endpoint needs any.
_PUBLIC: Final = frozenset({"api-docs.openapi_json"})
_PUBLIC_BLUEPRINTS: Final = frozenset({"assets", "docs", "Discovery", "Health", "Keys"})
# The results of asynchronous requests belong to the client that sent these, which were writes.
_OF_BLUEPRINTS: Final = {
    "Async": "scim.write",
    "Bulk": "scim.write",
    "Events": "scim.events",
    "Metrics": "scim.admin",
    "Search": "scim.read",
    "Streams": "scim.events",
}
_OF_USER: Final = "Me"


class Access:
    """Knows the scope of each endpoint; `resource_types` are the names of the types, and of their endpoints.

    A request needs the scope for every resource type, or for at least one. The operation asks for that of its
    own type (`app.protocol.authorization`).
    """

    def __init__(self, resource_types: Collection[str]) -> None:
        self._resource_types = frozenset(resource_types)

    def scope(self, endpoint: str, method: str) -> str | None:
        """Return the scope for a method of a Flask endpoint, None where no credentials are needed.

        Raises Refusal 403 for an endpoint that is not in the list.
        """
        blueprint, _, view = endpoint.partition(".")
        if endpoint in _PUBLIC or blueprint in _PUBLIC_BLUEPRINTS:
            return None
        if blueprint in _OF_BLUEPRINTS:
            return _OF_BLUEPRINTS[blueprint]
        if blueprint == _OF_USER or blueprint in self._resource_types:
            return "scim.read" if method in READS or view == "search_by_post" else "scim.write"
        raise Refusal(403, "no scope gives access to this endpoint")
