"""The public keys that verify signed SETs (RFC 7517 section 5)."""

import orjson
from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.responses import Response
from set_delivery.streams import Publishing
from set_delivery.tokens import published


def keys_blueprint(publishing: Publishing) -> Blueprint:
    """Return the blueprint of the public keys (RFC 7517 section 5); they need no credentials."""
    blueprint = Blueprint("Keys", __name__)

    @blueprint.route("/.well-known/jwks.json")
    class Keys(MethodView):
        init_every_request = False

        def get(self) -> Response:
            own = [receiver.key for receiver in publishing.receivers if receiver.key is not None]
            keys = {key.key_id: key for key in (*publishing.keys, *own) if key.public is not None}
            body = orjson.dumps(published(list(keys.values())))
            return Response(body, content_type="application/jwk-set+json")

    return blueprint
