"""Reading resources: GET of one, and of a list (RFC 7644 section 3.4); most requests are one of these.

They are answered without the dispatch of Flask, which takes more time than the read itself. Flask has the
routes too: it answers what is spelled unusually, such as an id with a slash, by the same functions.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from app.edge.asked import Asked
from app.edge.error_handlers import error_response
from app.edge.messages import read_projection, read_query
from app.edge.responses import Response, empty_response, list_response, resource_response
from app.protocol.context import Context
from app.protocol.preconditions import entity_tag, names, require_match
from app.protocol.resources import Resources
from schema.projection import Projection
from schema.resource_type import ResourceType
from telemetry.current import current

SEARCH: Final = ".search"
"""What stands in place of an id in the path of a search by POST (RFC 7644 section 3.4.3)."""

_READS: Final = frozenset({"GET", "HEAD"})


class ReadEndpoint:
    """The reads of one resource type."""

    def __init__(self, resource_type: ResourceType, resources: Resources) -> None:
        self._type = resource_type
        self._resources = resources
        self._whole = Projection(resource_type)
        self._routes = (resource_type.endpoint, f"{resource_type.endpoint}/{{resource_id}}")

    def route(self, of_one: bool) -> str:
        """Return the route of the reads of one resource, or of a list, as the description has it."""
        return self._routes[of_one]

    def search(self, asked: Asked) -> Response:
        """Return a page of resources."""
        query = read_query(asked.arguments, asked.profile)
        return list_response(self._resources.search(asked.context, self._type, query))

    def get(self, asked: Asked, resource_id: str) -> Response:
        """Return one resource, or 304 where the client has it."""
        chosen, conditions, context = self._whole, asked.conditions, asked.context
        if arguments := asked.arguments:
            chosen = read_projection(self._type, arguments, asked.profile.resources)
        stored = self._resources.read(context, self._type, resource_id)
        require_match(conditions.if_match, stored.version)
        known = conditions.if_none_match
        if known is not None and names(known, stored.version):
            return empty_response(304, {"ETag": entity_tag(stored.version)})
        text = self._resources.text(context, self._type, stored, chosen)
        location = self._resources.location(context, self._type.name, stored.id)
        return resource_response(text, stored.version, location)


class Reads:
    """WSGI middleware that answers reads; `authenticate` returns the context of a request, or raises."""

    def __init__(
        self,
        application: Any,
        endpoints: Mapping[str, ReadEndpoint],
        authenticate: Callable[[Mapping[str, Any]], Context],
    ) -> None:
        self._application = application
        self._endpoints = endpoints
        self._authenticate = authenticate

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # Missing where it is empty, such as of a request that is none (PEP 3333).
        path: str = environ.get("PATH_INFO", "")
        name, slash, resource_id = path[1:].partition("/")
        endpoint = self._endpoints.get(name)
        if endpoint is None or environ["REQUEST_METHOD"] not in _READS or not _is_plain(resource_id):
            result: Iterable[bytes] = self._application(environ, start_response)
            return result
        activity = current.get()
        if activity is not None:
            activity.name = endpoint.route(resource_id != "")
        try:
            asked = Asked(environ, self._authenticate(environ))
            response = endpoint.get(asked, resource_id) if resource_id else endpoint.search(asked)
        # As Flask does with the exception of a view.
        except Exception as problem:
            response = error_response(problem)
        return response(environ, start_response)


def _is_plain(resource_id: str) -> bool:
    """Return whether an id, or none, needs no look at how the path is spelled."""
    return resource_id.isascii() and "/" not in resource_id and resource_id != SEARCH
