"""The endpoint /Bulk (RFC 7644 section 3.7)."""

from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.deferral import Deferral
from app.guard import current_principal
from app.messages import ACCEPTED, BodyLimits, BulkMessage, ErrorMessage, read_body
from app.protocol.bulk import BulkOperations, bulk_response, read_bulk_request
from app.responses import SCIM_JSON, scim_response
from schema import urns

_EXAMPLE = {
    "schemas": [urns.BULK_REQUEST],
    "failOnErrors": 1,
    "Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "newuser", "data": {"userName": "alice"}},
        {
            "method": "PATCH",
            "path": "/Users/bulkId:newuser",
            "data": {
                "schemas": [urns.PATCH_OP],
                "Operations": [{"op": "replace", "path": "active", "value": False}],
            },
        },
    ],
}


def bulk_blueprint(
    bulk: BulkOperations, deferral: Deferral, limits: BodyLimits, max_operations: int
) -> Blueprint:
    """Return the blueprint of /Bulk."""
    blueprint = Blueprint("Bulk", __name__)
    body = {"content": {SCIM_JSON: {"schema": BulkMessage, "example": _EXAMPLE}}, "required": True}

    @blueprint.route("/Bulk")
    class Bulk(MethodView):
        init_every_request = False

        @blueprint.doc(requestBody=body, summary="Many operations in one request")
        @blueprint.response(200, {"type": "object"}, content_type=SCIM_JSON)
        @blueprint.alt_response(202, description=ACCEPTED)
        @blueprint.alt_response(400, schema=ErrorMessage, content_type=SCIM_JSON)
        @blueprint.alt_response(413, schema=ErrorMessage, content_type=SCIM_JSON)
        def post(self) -> Response:
            message = read_bulk_request(read_body(request, limits), max_operations)
            accepted = deferral.accept_bulk(message)
            if accepted is not None:
                return accepted
            return scim_response(bulk_response(bulk.run(message, current_principal().profile)))

    return blueprint
