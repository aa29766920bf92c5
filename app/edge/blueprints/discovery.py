"""The discovery endpoints (RFC 7644 section 4); they need no credentials."""

from typing import Any

from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.responses import Response, discovery_response, document_response
from app.protocol.discovery import Discovery
from app.protocol.errors import Refusal
from schema import urns


def discovery_blueprint(discovery: Discovery) -> Blueprint:
    """Return the blueprint of /ServiceProviderConfig, /ResourceTypes and /Schemas."""
    blueprint = Blueprint("Discovery", __name__)
    # It does not change while the server runs.
    config = discovery.service_provider_config()

    @blueprint.route("/ServiceProviderConfig")
    class ServiceProviderConfig(MethodView):
        init_every_request = False

        def get(self) -> Response:
            _refuse_filter()
            return discovery_response(config)

    for path, documents, noun in (
        ("ResourceTypes", discovery.resource_types, "resource type"),
        ("Schemas", discovery.schemas, "schema"),
    ):
        _add_catalogue(blueprint, path, documents, noun)
    return blueprint


def _add_catalogue(
    blueprint: Blueprint, path: str, documents: dict[str, dict[str, Any]], noun: str
) -> None:
    def list_all() -> Response:
        _refuse_filter()
        return document_response(
            {
                "schemas": [urns.LIST_RESPONSE],
                "totalResults": len(documents),
                "itemsPerPage": len(documents),
                "startIndex": 1,
                "Resources": list(documents.values()),
            }
        )

    def get_one(name: str) -> Response:
        _refuse_filter()
        document = documents.get(name.lower())
        if document is None:
            raise Refusal(404, f"there is no {noun} {name}")
        return discovery_response(document)

    blueprint.add_url_rule(f"/{path}", f"list_{path}", list_all)
    blueprint.add_url_rule(f"/{path}/<name>", f"get_{path}", get_one)


def _refuse_filter() -> None:
    # RFC 7644 section 4: a client must not take an ignored filter for an answer to it.
    if "filter" in request.args:
        raise Refusal(403, "filter: is not supported on discovery endpoints")
