"""The endpoint /Me (RFC 7644 section 3.11): the User that the token of the client stands for."""

from collections.abc import Callable

from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.blueprints.resources import Endpoint
from app.edge.guard import current_context
from app.edge.responses import Response
from app.protocol.errors import Refusal


def me_blueprint(users: Endpoint | None) -> Blueprint:
    """Return the blueprint of /Me; `users` is the endpoint of the Users, None without that type."""
    blueprint = Blueprint("Me", __name__)

    def answered(view: Callable[[Endpoint, str], Response]) -> Response:
        context = current_context()
        user = context.principal.user
        if users is None or user is None:
            raise Refusal(501, "/Me is not supported: the credentials do not represent a user")
        response = view(users, user)
        # "In any response, the Location header MUST be the permanent location." An accepted request has the
        # location of its result there (RFC 9967 section 2.5.1).
        if response.status_code != 202:
            response.headers["Location"] = users.location(context, user)
        return response

    @blueprint.route("/Me")
    class Me(MethodView):
        init_every_request = False

        def get(self) -> Response:
            return answered(Endpoint.get)

        def put(self) -> Response:
            return answered(Endpoint.replace)

        def patch(self) -> Response:
            return answered(Endpoint.patch)

        def delete(self) -> Response:
            return answered(Endpoint.delete)

        def post(self) -> Response:
            raise Refusal(501, "POST /Me is not supported: a token stands for a User that exists")

    return blueprint
