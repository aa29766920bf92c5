"""The endpoint /Me (RFC 7644 section 3.11)."""

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from app.protocol.errors import Refusal


def me_blueprint() -> Blueprint:
    """Return the blueprint of /Me: an API key stands for no user, so there is nothing to be found."""
    blueprint = Blueprint("Me", __name__)

    @blueprint.route("/Me")
    class Me(MethodView):
        init_every_request = False

        def get(self) -> Response:
            raise Refusal(501, "/Me is not supported: an API key does not represent a user")

        post = put = patch = delete = get

    return blueprint
