"""Searching all resource types at once, and searching by POST (RFC 7644 sections 3.4.2.1 and 3.4.3)."""

from typing import cast

from flask import current_app, request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.documentation import PAGE_VIEW
from app.edge.guard import current_context, current_profile, shows_page
from app.edge.messages import BodyLimits, read_body, read_query
from app.edge.responses import Response, list_response
from app.protocol.resources import Resources
from app.protocol.search_message import read_search_request


def search_blueprint(resources: Resources, limits: BodyLimits) -> Blueprint:
    """Return the blueprint of the root and of its /.search."""
    blueprint = Blueprint("Search", __name__)

    @blueprint.route("/.search")
    class SearchAll(MethodView):
        init_every_request = False

        def post(self) -> Response:
            query = read_search_request(read_body(request, limits), current_profile())
            return list_response(resources.search_all(current_context(), query))

    @blueprint.route("/")
    class Root(MethodView):
        init_every_request = False

        def get(self) -> Response:
            if shows_page():
                return cast(Response, current_app.view_functions[PAGE_VIEW]())
            query = read_query(request.args, current_profile())
            return list_response(resources.search_all(current_context(), query))

    return blueprint
