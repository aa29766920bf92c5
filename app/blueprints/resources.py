"""The endpoints of one resource type, made from its definition (RFC 7644 sections 3.3 to 3.6)."""

from collections.abc import Mapping
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
    read_search_request,
)
from app.protocol.asynchronous import AsyncRequest
from app.protocol.preconditions import Conditions, entity_tag, names, require_match
from app.protocol.resources import Resources
from app.responses import changed_response, empty_response, list_response, resource_response
from schema.projection import Projection
from schema.resource_type import ResourceType
from storage.adapter import StoredResource


class IdConverter(PathConverter):
    """An id in a path: an upstream may give ids with slashes, which come as %2F."""

    def to_python(self, value: str) -> str:
        # Both spellings of the path are served, with and without a slash at its end.
        return value.removesuffix("/")


def resource_blueprint(
    resource_type: ResourceType,
    resources: Resources,
    deferral: Deferral,
    limits: BodyLimits,
) -> Blueprint:
    """Return the blueprint that serves `resource_type` at its endpoint."""
    blueprint = Blueprint(resource_type.name, __name__, url_prefix=resource_type.endpoint)
    whole = Projection(resource_type)

    def projection() -> Projection:
        if not request.query_string:
            return whole
        return read_projection(resource_type, request.args, current_profile().resources)

    def deferred(resource_id: str, body: Mapping[str, Any] | None = None) -> Response | None:
        """Return the answer to a request that is carried out later, None when it is not."""

        def kept() -> AsyncRequest:
            conditions = _conditions()
            return AsyncRequest(
                request.method,
                resource_type.name,
                resource_id,
                body or {},
                conditions.if_match,
                conditions.if_none_match,
                *read_names(request.args),
            )

        return deferral.accept(kept)

    def location(stored: StoredResource) -> str:
        return resources.location(resource_type.name, stored.id)

    def shown(stored: StoredResource, chosen: Projection, status: int = 200) -> Response:
        text = resources.text(current_context(), resource_type, stored, chosen)
        return resource_response(text, stored.version, location(stored), status)

    @blueprint.route("")
    class Collection(MethodView):
        init_every_request = False

        def get(self) -> Response:
            query = read_query(request.args if request.query_string else {}, current_profile())
            return list_response(resources.search(current_context(), resource_type, query))

        def post(self) -> Response:
            chosen = projection()
            body = read_body(request, limits)
            accepted = deferred(str(uuid4()), body)
            if accepted is not None:
                return accepted
            stored = resources.create(current_context(), resource_type, body)
            return shown(stored, chosen, 201)

    @blueprint.route("/.search")
    class Search(MethodView):
        init_every_request = False

        def post(self) -> Response:
            query = read_search_request(read_body(request, limits), current_profile())
            return list_response(resources.search(current_context(), resource_type, query))

    @blueprint.route("/<id:resource_id>")
    class Single(MethodView):
        init_every_request = False

        def get(self, resource_id: str) -> Response:
            chosen = projection()
            conditions = _conditions()
            stored = resources.get(current_context(), resource_type, resource_id)
            require_match(conditions.if_match, stored.version)
            known = conditions.if_none_match
            if known is not None and names(known, stored.version):
                return empty_response(304, {"ETag": entity_tag(stored.version)})
            return shown(stored, chosen)

        def put(self, resource_id: str) -> Response:
            chosen = projection()
            body = read_body(request, limits)
            accepted = deferred(resource_id, body)
            if accepted is not None:
                return accepted
            context = current_context()
            stored = resources.replace(context, resource_type, resource_id, body, _conditions())
            return shown(stored, chosen)

        def patch(self, resource_id: str) -> Response:
            chosen = projection()
            body = read_body(request, limits)
            accepted = deferred(resource_id, body)
            if accepted is not None:
                return accepted
            context = current_context()
            stored = resources.patch(context, resource_type, resource_id, body, _conditions())
            if not request.query_string and resources.is_large(context, resource_type, stored):
                return changed_response(stored.version, location(stored))
            return shown(stored, chosen)

        def delete(self, resource_id: str) -> Response:
            accepted = deferred(resource_id)
            if accepted is not None:
                return accepted
            resources.delete(current_context(), resource_type, resource_id, _conditions())
            return empty_response(204)

    return blueprint


def _conditions() -> Conditions:
    return read_conditions(request, current_profile())
