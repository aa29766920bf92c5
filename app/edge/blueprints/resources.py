"""The endpoints of one resource type, made from its definition (RFC 7644 sections 3.3 to 3.6)."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from flask import Response, request
from flask_smorest import Blueprint
from werkzeug.routing import PathConverter

from app.edge.deferral import Deferral
from app.edge.guard import current_context, current_profile
from app.edge.headers import read_conditions
from app.edge.messages import (
    BodyLimits,
    read_body,
    read_names,
    read_projection,
    read_query,
)
from app.edge.responses import changed_response, empty_response, list_response, resource_response
from app.protocol.asynchronous import AsyncRequest
from app.protocol.context import Context
from app.protocol.preconditions import entity_tag, names, require_match
from app.protocol.resources import Resources
from app.protocol.search_message import read_search_request
from schema.projection import Projection
from schema.resource_type import ResourceType
from storage.adapter import StoredResource


class IdConverter(PathConverter):
    """An id in a path: an upstream may give ids with slashes, which come as %2F."""

    def to_python(self, value: str) -> str:
        # Both spellings of the path are served, with and without a slash at its end.
        return value.removesuffix("/")


class Endpoint:
    """The views of one resource type."""

    def __init__(
        self, resource_type: ResourceType, resources: Resources, deferral: Deferral, limits: BodyLimits
    ) -> None:
        self._type = resource_type
        self._resources = resources
        self._deferral = deferral
        self._limits = limits
        self._whole = Projection(resource_type)

    # -- all resources of the type

    def search(self) -> Response:
        query = read_query(request.args if request.query_string else {}, current_profile())
        return list_response(self._resources.search(current_context(), self._type, query))

    def search_by_post(self) -> Response:
        """Answer a search by POST (RFC 7644 section 3.4.3)."""
        query = read_search_request(read_body(request, self._limits), current_profile())
        return list_response(self._resources.search(current_context(), self._type, query))

    def create(self) -> Response:
        chosen, body = self._projection(), read_body(request, self._limits)
        accepted = self._accepted(str(uuid4()), body)
        if accepted is not None:
            return accepted
        context = current_context()
        stored = self._resources.create(context, self._type, body)
        return self._shown(context, stored, chosen, 201)

    # -- one resource

    def get(self, resource_id: str) -> Response:
        chosen, conditions = self._projection(), read_conditions(request, current_profile())
        context = current_context()
        stored = self._resources.get(context, self._type, resource_id)
        require_match(conditions.if_match, stored.version)
        known = conditions.if_none_match
        if known is not None and names(known, stored.version):
            return empty_response(304, {"ETag": entity_tag(stored.version)})
        return self._shown(context, stored, chosen)

    def replace(self, resource_id: str) -> Response:
        chosen, body = self._projection(), read_body(request, self._limits)
        accepted = self._accepted(resource_id, body)
        if accepted is not None:
            return accepted
        context, conditions = current_context(), read_conditions(request, current_profile())
        stored = self._resources.replace(context, self._type, resource_id, body, conditions)
        return self._shown(context, stored, chosen)

    def patch(self, resource_id: str) -> Response:
        chosen, body = self._projection(), read_body(request, self._limits)
        accepted = self._accepted(resource_id, body)
        if accepted is not None:
            return accepted
        context, conditions = current_context(), read_conditions(request, current_profile())
        stored = self._resources.patch(context, self._type, resource_id, body, conditions)
        if not request.query_string and self._resources.is_large(context, self._type, stored):
            return changed_response(stored.version, self._resources.location(self._type.name, stored.id))
        return self._shown(context, stored, chosen)

    def delete(self, resource_id: str) -> Response:
        accepted = self._accepted(resource_id)
        if accepted is not None:
            return accepted
        conditions = read_conditions(request, current_profile())
        self._resources.delete(current_context(), self._type, resource_id, conditions)
        return empty_response(204)

    # -- what they have in common

    def _projection(self) -> Projection:
        """Return which attributes the request asks for. Raises InvalidValue."""
        if not request.query_string:
            return self._whole
        return read_projection(self._type, request.args, current_profile().resources)

    def _accepted(self, resource_id: str, body: Mapping[str, Any] | None = None) -> Response | None:
        """Return the answer to a request that is carried out later, None when it is not."""
        wait_s = self._deferral.wait_s()
        if wait_s is None:
            return None
        conditions = read_conditions(request, current_profile())
        asked = AsyncRequest(
            request.method,
            self._type.name,
            resource_id,
            body or {},
            conditions.if_match,
            conditions.if_none_match,
            *read_names(request.args),
        )
        return self._deferral.accept(asked, wait_s)

    def _shown(
        self, context: Context, stored: StoredResource, chosen: Projection, status: int = 200
    ) -> Response:
        """Return the response that carries a resource."""
        text = self._resources.text(context, self._type, stored, chosen)
        location = self._resources.location(self._type.name, stored.id)
        return resource_response(text, stored.version, location, status)


def resource_blueprint(
    resource_type: ResourceType, resources: Resources, deferral: Deferral, limits: BodyLimits
) -> Blueprint:
    """Return the blueprint that serves `resource_type` at its endpoint."""
    blueprint = Blueprint(resource_type.name, __name__, url_prefix=resource_type.endpoint)
    endpoint = Endpoint(resource_type, resources, deferral, limits)
    one = "/<id:resource_id>"
    for method, rule, view in (
        ("GET", "", endpoint.search),
        ("POST", "", endpoint.create),
        ("POST", "/.search", endpoint.search_by_post),
        ("GET", one, endpoint.get),
        ("PUT", one, endpoint.replace),
        ("PATCH", one, endpoint.patch),
        ("DELETE", one, endpoint.delete),
    ):
        blueprint.add_url_rule(rule, view_func=view, methods=[method])
    return blueprint
