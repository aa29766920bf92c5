"""Canaille, an OpenID provider, as a process: `python canaille_server.py CONFIGURATION`.

Its access tokens for users are its own. For the grant client_credentials it has opaque tokens; those of
RFC 9068 come from Authlib, the library that it is made with.
"""

import json
import sys
from typing import Any

from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.oidc.jose import server_signing_key
from canaille.oidc.provider import authorization, get_issuer
from werkzeug.serving import make_server


class Rfc9068Tokens(JWTBearerTokenGenerator):  # type: ignore[misc]
    """Access tokens for an audience."""

    def __init__(self, issuer: str, audience: str) -> None:
        super().__init__(issuer, "RS256")
        self._audience = audience

    def get_jwks(self) -> Any:
        return server_signing_key()

    def get_audiences(self, client: Any, user: Any, scope: str) -> list[str]:
        return [self._audience]


def main(path: str) -> None:
    with open(path) as file:
        chosen = json.load(file)
    app = create_app(chosen["canaille"])
    with app.app_context():
        person = models.User(**chosen["user"])
        Backend.instance.save(person)
        Backend.instance.save(models.Group(display_name="scim-admins", members=[person]))
        tokens = Rfc9068Tokens(get_issuer(), chosen["audience"])
        authorization.register_token_generator("client_credentials", tokens)
    make_server("127.0.0.1", chosen["port"], app, threaded=True).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
