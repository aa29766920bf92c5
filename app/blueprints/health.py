"""Whether the server lives, and whether it can do its work."""

from collections.abc import Callable

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint

from app.responses import JSON


def health_blueprint(*checks: Callable[[], object]) -> Blueprint:
    """Return the blueprint of /health and /health/ready; they need no credentials.

    Each of `checks` raises what is answered when something does not work.
    """
    blueprint = Blueprint("Health", __name__)

    @blueprint.route("/health")
    class Health(MethodView):
        init_every_request = False

        def get(self) -> Response:
            return Response(b'{"status":"OK"}', content_type=JSON)

    @blueprint.route("/health/ready")
    class Ready(MethodView):
        init_every_request = False

        def get(self) -> Response:
            for check in checks:
                check()
            return Response(b'{"status":"OK"}', content_type=JSON)

    return blueprint
