"""The endpoints of one resource type, made from its definition (RFC 7644 sections 3.3 to 3.6)."""

import re
from collections.abc import Mapping
from typing import Any

from flask import request
from flask_smorest import Blueprint
from werkzeug.routing import PathConverter

from app.edge.asked import current_asked
from app.edge.deferral import Deferral
from app.edge.guard import current_context, current_profile
from app.edge.headers import read_conditions
from app.edge.messages import BodyLimits, read_body, read_names, read_projection
from app.edge.reads import SEARCH, ReadEndpoint
from app.edge.responses import Response, changed_response, empty_response, list_response, resource_response
from app.protocol.asynchronous import AsyncRequest
from app.protocol.context import Context
from app.protocol.identifiers import ordered_uuid
from app.protocol.preconditions import Conditions
from app.protocol.resources import Resources
from app.protocol.search_message import read_search_request
from schema.projection import Projection, make_projection
from schema.resource_type import ResourceType
from storage.adapter import StoredResource


class IdConverter(PathConverter):
    """An id in a path: an upstream may give ids with slashes, which come as %2F. `.search` is none."""

    regex = rf"(?!{re.escape(SEARCH)}/?$){PathConverter.regex}"

    def to_python(self, value: str) -> str:
        # Both spellings of the path are served, with and without a slash at its end.
        return value.removesuffix("/")


class Endpoint:
    """The views of one resource type."""

    def __init__(
        self, resource_type: ResourceType, resources: Resources, deferral: Deferral, limits: BodyLimits
    ) -> None:
        self.resource_type = resource_type
        self._type = resource_type
        self._resources = resources
        self._deferral = deferral
        self._limits = limits
        self._reads = ReadEndpoint(resource_type, resources)
        self._whole = Projection(resource_type)
        self._bare = make_projection(resource_type, ["id"], [])

    def location(self, context: Context, resource_id: str) -> str:
        """Return the location of a resource of the type, as a client sees it."""
        return self._resources.location(context, self._type.name, resource_id)

    # -- all resources of the type

    def search(self) -> Response:
        return self._reads.search(current_asked())

    def search_by_post(self) -> Response:
        """Answer a search by POST (RFC 7644 section 3.4.3)."""
        query = read_search_request(read_body(request, self._limits), current_profile())
        return list_response(self._resources.search(current_context(), self._type, query))

    def create(self) -> Response:
        chosen, wait_s = self._projection(), self._deferral.wait_s()
        if wait_s is not None:
            return self._deferred(str(ordered_uuid()), wait_s, self._body())
        context = current_context()
        stored = self._resources.create(context, self._type, self._body())
        return self._shown(context, stored, chosen, 201)

    # -- one resource

    def get(self, resource_id: str) -> Response:
        return self._reads.get(current_asked(), resource_id)

    def replace(self, resource_id: str) -> Response:
        chosen, wait_s = self._projection(), self._deferral.wait_s()
        if wait_s is not None:
            return self._deferred(resource_id, wait_s, self._body())
        context = current_context()
        stored = self._resources.replace(
            context, self._type, resource_id, self._body(), self._conditions()
        )
        return self._shown(context, stored, chosen)

    def patch(self, resource_id: str) -> Response:
        chosen, wait_s = self._projection(), self._deferral.wait_s()
        if wait_s is not None:
            return self._deferred(resource_id, wait_s, self._body())
        context = current_context()
        stored = self._resources.patch(context, self._type, resource_id, self._body(), self._conditions())
        if not request.query_string and self._resources.is_left_out(context, self._type, stored):
            return changed_response(stored.version, self.location(context, stored.id))
        return self._shown(context, stored, chosen)

    def delete(self, resource_id: str) -> Response:
        wait_s = self._deferral.wait_s()
        if wait_s is not None:
            return self._deferred(resource_id, wait_s, {})
        self._resources.delete(current_context(), self._type, resource_id, self._conditions())
        return empty_response(204)

    # -- what they have in common

    def _projection(self) -> Projection:
        """Return which attributes the request asks for. Raises InvalidValue."""
        if not request.query_string:
            return self._whole
        return read_projection(self._type, request.args, current_profile().resources)

    def _body(self) -> Mapping[str, Any]:
        """Return the body of the request. A caller that hands it on without a name lets it go early."""
        return read_body(request, self._limits)

    def _conditions(self) -> Conditions:
        return read_conditions(request.environ, current_profile())

    def _deferred(self, resource_id: str, wait_s: float, body: Mapping[str, Any]) -> Response:
        """Return the answer to a request that is carried out later."""
        conditions = self._conditions()
        asked = AsyncRequest(
            request.method,
            self._type.name,
            resource_id,
            body,
            conditions.if_match,
            conditions.if_none_match,
            *read_names(request.args),
        )
        return self._deferral.accept(asked, wait_s)

    def _shown(
        self, context: Context, stored: StoredResource, chosen: Projection, status: int = 200
    ) -> Response:
        """Return the response that carries a resource, or only its id for a client that may not read it."""
        if not self._resources.may_read(context, self._type):
            chosen = self._bare
        text = self._resources.text(context, self._type, stored, chosen)
        return resource_response(text, stored.version, self.location(context, stored.id), status)


def resource_blueprint(endpoint: Endpoint) -> Blueprint:
    """Return the blueprint that serves one resource type at its endpoint."""
    resource_type = endpoint.resource_type
    blueprint = Blueprint(resource_type.name, __name__, url_prefix=resource_type.endpoint)
    one = "/<id:resource_id>"
    for method, rule, view in (
        ("GET", "", endpoint.search),
        ("POST", "", endpoint.create),
        ("POST", f"/{SEARCH}", endpoint.search_by_post),
        ("GET", one, endpoint.get),
        ("PUT", one, endpoint.replace),
        ("PATCH", one, endpoint.patch),
        ("DELETE", one, endpoint.delete),
    ):
        blueprint.add_url_rule(rule, view_func=view, methods=[method])
    return blueprint
