"""Whether the server lives, and whether it can do its work."""

from collections.abc import Callable

from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.responses import JSON, Response
from app.protocol.errors import Refusal
from storage.errors import StorageReadOnly


def health_blueprint(check_writable: Callable[[], object], *checks: Callable[[], object]) -> Blueprint:
    """Return the blueprint of /health, /health/ready and /health/writable; they need no credentials.

    Each of `checks` raises what is answered when something does not work, `check_writable` when the
    storage takes no changes.
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

    @blueprint.route("/health/writable")
    class Writable(MethodView):
        init_every_request = False

        def get(self) -> Response:
            try:
                check_writable()
            except StorageReadOnly as exc:
                raise Refusal(503, "the storage is read-only") from exc
            return Response(b'{"status":"OK"}', content_type=JSON)

    return blueprint
