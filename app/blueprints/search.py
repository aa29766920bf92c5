"""Searching all resource types at once, and searching by POST (RFC 7644 sections 3.4.2.1 and 3.4.3)."""

from typing import cast

from flask import Response, current_app, request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.auth import Authenticator
from app.documentation import PAGE_VIEW
from app.guard import authenticate, current_principal, current_profile
from app.headers import asks_for
from app.messages import BodyLimits, read_body, read_query, read_search_request
from app.protocol.search import Searcher
from app.responses import SCIM_JSON, list_response


def search_blueprint(searcher: Searcher, authenticator: Authenticator, limits: BodyLimits) -> Blueprint:
    """Return the blueprint of the root and of its /.search."""
    blueprint = Blueprint("Search", __name__)

    @blueprint.route("/.search")
    class SearchAll(MethodView):
        init_every_request = False

        def post(self) -> Response:
            authenticate(authenticator)
            query = read_search_request(read_body(request, limits), current_profile())
            return list_response(searcher.search_all(query, current_principal().name))

    @blueprint.route("/")
    class Root(MethodView):
        init_every_request = False

        def get(self) -> Response:
            accept = request.headers.get("Accept", "")
            if not request.query_string and not asks_for(accept, SCIM_JSON):
                return cast(Response, current_app.view_functions[PAGE_VIEW]())
            authenticate(authenticator)
            query = read_query(request.args, current_profile())
            return list_response(searcher.search_all(query, current_principal().name))

    return blueprint
