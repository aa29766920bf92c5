"""The endpoint /Bulk (RFC 7644 section 3.7)."""

from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.auth.limits import Turns
from app.edge.deferral import Deferral
from app.edge.guard import current_context, current_profile
from app.edge.messages import BodyLimits, read_body
from app.edge.responses import Response
from app.protocol.bulk import BulkOperations
from app.protocol.bulk_message import bulk_response, read_bulk_request


def bulk_blueprint(
    bulk: BulkOperations, deferral: Deferral, limits: BodyLimits, max_operations: int, turns: Turns
) -> Blueprint:
    """Return the blueprint of /Bulk; `turns` bounds the requests of a client that are under way."""
    blueprint = Blueprint("Bulk", __name__)

    @blueprint.route("/Bulk")
    class Bulk(MethodView):
        init_every_request = False

        def post(self) -> Response:
            message = read_bulk_request(read_body(request, limits), max_operations, current_profile())
            accepted = deferral.accept_bulk(message)
            if accepted is not None:
                return accepted
            context = current_context()
            with turns.turn(context.principal):
                return Response(bulk_response(bulk.run(context, message)))

    return blueprint
