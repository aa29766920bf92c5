"""The endpoints of one resource type, made from its definition (RFC 7644 sections 3.3 to 3.6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from werkzeug.routing import PathConverter

from app.deferral import Deferral
from app.guard import current_context, current_profile
from app.headers import read_conditions
from app.messages import (
    BodyLimits,
    read_body,
    read_names,
    read_projection,
    read_query,
)
from app.protocol.asynchronous import AsyncRequest
from app.protocol.preconditions import Conditions, entity_tag, names, require_match
from app.protocol.resources import Resources
from app.protocol.search_message import read_search_request
from app.responses import changed_response, empty_response, list_response, resource_response
from schema.projection import Projection
from schema.resource_type import ResourceType
from storage.adapter import StoredResource


class IdConverter(PathConverter):
    """An id in a path: an upstream may give ids with slashes, which come as %2F."""

    def to_python(self, value: str) -> str:
        # Both spellings of the path are served, with and without a slash at its end.
        return value.removesuffix("/")


@dataclass(frozen=True)
class Endpoint:
    """What the views of one resource type work with."""

    resource_type: ResourceType
    resources: Resources
    deferral: Deferral
    limits: BodyLimits

    @cached_property
    def _whole(self) -> Projection:
        return Projection(self.resource_type)

    def body(self) -> Mapping[str, Any]:
        """Return the JSON object that the request carries. Raises as `read_body`."""
        return read_body(request, self.limits)

    def projection(self) -> Projection:
        """Return which attributes the request asks for. Raises InvalidValue."""
        if not request.query_string:
            return self._whole
        return read_projection(self.resource_type, request.args, current_profile().resources)

    def accepted(self, resource_id: str, body: Mapping[str, Any] | None = None) -> Response | None:
        """Return the answer to a request that is carried out later, None when it is not."""

        def kept() -> AsyncRequest:
            conditions = _conditions()
            return AsyncRequest(
                request.method,
                self.resource_type.name,
                resource_id,
                body or {},
                conditions.if_match,
                conditions.if_none_match,
                *read_names(request.args),
            )

        return self.deferral.accept(kept)

    def location(self, stored: StoredResource) -> str:
        """Return the location of a resource."""
        return self.resources.location(self.resource_type.name, stored.id)

    def shown(self, stored: StoredResource, chosen: Projection, status: int = 200) -> Response:
        """Return the response that carries a resource."""
        text = self.resources.text(current_context(), self.resource_type, stored, chosen)
        return resource_response(text, stored.version, self.location(stored), status)


class _View(MethodView):
    init_every_request = False

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._type = endpoint.resource_type
        self._resources = endpoint.resources


class Collection(_View):
    """All resources of the type."""

    def get(self) -> Response:
        query = read_query(request.args if request.query_string else {}, current_profile())
        return list_response(self._resources.search(current_context(), self._type, query))

    def post(self) -> Response:
        chosen, body = self._endpoint.projection(), self._endpoint.body()
        accepted = self._endpoint.accepted(str(uuid4()), body)
        if accepted is not None:
            return accepted
        stored = self._resources.create(current_context(), self._type, body)
        return self._endpoint.shown(stored, chosen, 201)


class Search(_View):
    """A search by POST (RFC 7644 section 3.4.3)."""

    def post(self) -> Response:
        query = read_search_request(self._endpoint.body(), current_profile())
        return list_response(self._resources.search(current_context(), self._type, query))


class Single(_View):
    """One resource."""

    def get(self, resource_id: str) -> Response:
        chosen, conditions = self._endpoint.projection(), _conditions()
        stored = self._resources.get(current_context(), self._type, resource_id)
        require_match(conditions.if_match, stored.version)
        known = conditions.if_none_match
        if known is not None and names(known, stored.version):
            return empty_response(304, {"ETag": entity_tag(stored.version)})
        return self._endpoint.shown(stored, chosen)

    def put(self, resource_id: str) -> Response:
        chosen, body = self._endpoint.projection(), self._endpoint.body()
        accepted = self._endpoint.accepted(resource_id, body)
        if accepted is not None:
            return accepted
        context = current_context()
        stored = self._resources.replace(context, self._type, resource_id, body, _conditions())
        return self._endpoint.shown(stored, chosen)

    def patch(self, resource_id: str) -> Response:
        chosen, body = self._endpoint.projection(), self._endpoint.body()
        accepted = self._endpoint.accepted(resource_id, body)
        if accepted is not None:
            return accepted
        context = current_context()
        stored = self._resources.patch(context, self._type, resource_id, body, _conditions())
        if not request.query_string and self._resources.is_large(context, self._type, stored):
            return changed_response(stored.version, self._endpoint.location(stored))
        return self._endpoint.shown(stored, chosen)

    def delete(self, resource_id: str) -> Response:
        accepted = self._endpoint.accepted(resource_id)
        if accepted is not None:
            return accepted
        self._resources.delete(current_context(), self._type, resource_id, _conditions())
        return empty_response(204)


def resource_blueprint(
    resource_type: ResourceType, resources: Resources, deferral: Deferral, limits: BodyLimits
) -> Blueprint:
    """Return the blueprint that serves `resource_type` at its endpoint."""
    blueprint = Blueprint(resource_type.name, __name__, url_prefix=resource_type.endpoint)
    endpoint = Endpoint(resource_type, resources, deferral, limits)
    for rule, view in (("", Collection), ("/.search", Search), ("/<id:resource_id>", Single)):
        blueprint.add_url_rule(rule, view_func=view.as_view(view.__name__, endpoint))
    return blueprint


def _conditions() -> Conditions:
    return read_conditions(request, current_profile())
