"""Canaille, an OpenID provider, on a free port, with one user in one group."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import requests

from tests.auth.issuers import AUDIENCE, SigningKey
from tests.ports import free_port

SERVER = Path(__file__).with_name("canaille_server.py")
PASSWORD = "correct horse battery staple"
USER = {
    "user_name": "bjensen",
    "formatted_name": "Barbara Jensen",
    "family_name": "Jensen",
    "emails": ["bjensen@example.com"],
    "password": PASSWORD,
}
GROUP = "scim-admins"


class Canaille:
    """The process, in a folder of its own. What it stores is gone when it ends."""

    def __init__(self, folder: Path, *keys: SigningKey) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://localhost:{self._port}"
        self.start(*keys)

    def start(self, *keys: SigningKey) -> None:
        """Start it: it signs with the first key and publishes all."""
        file = self._folder / "canaille.json"
        file.write_text(json.dumps(self._configuration(*keys)))
        command = [sys.executable, str(SERVER), str(file)]
        variables = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self._folder),
            # Without TLS, as on this machine only.
            "AUTHLIB_INSECURE_TRANSPORT": "1",
        }
        with (self._folder / "canaille.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=variables, stdout=log, stderr=subprocess.STDOUT
            )
        self._await()
        self.client_id, self._secret = self._register()

    def _configuration(self, *keys: SigningKey) -> dict[str, Any]:
        first, *others = [self._private(key) for key in keys]
        return {
            "port": self._port,
            "audience": AUDIENCE,
            "user": USER,
            "canaille": {
                "ENV_FILE": None,
                "TESTING": True,
                "SECRET_KEY": "0123456789abcdef0123456789abcdef",
                "WTF_CSRF_ENABLED": False,
                "PREFERRED_URL_SCHEME": "http",
                "SERVER_NAME": f"localhost:{self._port}",
                "CANAILLE": {
                    "DATABASE": "memory",
                    "JAVASCRIPT": False,
                    "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"]}},
                },
                "CANAILLE_OIDC": {
                    "DYNAMIC_CLIENT_REGISTRATION_OPEN": True,
                    "ACTIVE_JWKS": [first],
                    "INACTIVE_JWKS": others,
                },
            },
        }

    def _private(self, key: SigningKey) -> dict[str, Any]:
        document = dict(jwt.algorithms.RSAAlgorithm.to_jwk(key.private, as_dict=True))
        document.pop("key_ops")
        return {**document, "kid": key.kid}

    def _await(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("localhost", self._port), 5).close()
                return
            except OSError:
                log = (self._folder / "canaille.log").read_text()
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)

    def _register(self) -> tuple[str, str]:
        """Register a client (RFC 7591), and return its id and secret."""
        client = {
            "client_name": "provisioning",
            "contacts": ["admin@example.com"],
            "redirect_uris": ["http://localhost/unused"],
            "grant_types": ["client_credentials", "password"],
            "token_endpoint_auth_method": "client_secret_basic",
            "response_types": [],
        }
        answer = requests.post(f"{self.url}/oauth/register", json=client, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()["client_id"], answer.json()["client_secret"]

    def token(self, scope: str, grant_type: str = "client_credentials", **form: str) -> str:
        """Return an access token for the client."""
        sent = {"grant_type": grant_type, "scope": scope, **form}
        answer = requests.post(
            f"{self.url}/oauth/token", data=sent, auth=(self.client_id, self._secret), timeout=30
        )
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token

    def token_of_user(self) -> str:
        """Return an access token that acts for the user, with the groups of the user."""
        return self.token("openid groups", "password", username=USER["user_name"], password=PASSWORD)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(30)
