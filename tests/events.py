"""How tests read events: as a receiver, and as a reader of feeds."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

from tests.conftest import ScimClient
from tests.receivers import HttpReceiver

EVENT = "urn:ietf:params:scim:event"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
POLL = {"SET_POLL_ENABLED": "true", "EMBEDDED_WORKER": "false"}


def pushes(make_scim: Callable[..., ScimClient], receiver: HttpReceiver, **environ: str) -> ScimClient:
    return make_scim(SET_PUSH_URL=receiver.url, EMBEDDED_WORKER="false", **environ)


def sets(scim: ScimClient, feed: str = "default") -> list[dict[str, Any]]:
    """Return every SET of a feed, in order."""
    answer = scim("GET", f"/Events/Feeds/{feed}/Stream", query_string={"limit": 1000})
    assert answer.status_code == 200, answer.text
    assert not answer.json["moreAvailable"]
    found: list[dict[str, Any]] = answer.json["sets"]
    return found


def kinds(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what each SET says of what."""
    return [
        (next(iter(one["events"])).removeprefix(f"{EVENT}:"), one["sub_id"]["uri"]) for one in found
    ]


def payload(one: dict[str, Any]) -> dict[str, Any]:
    (only,) = one["events"].values()
    assert isinstance(only, dict)
    return only


def patch(scim: ScimClient, path: str, *operations: dict[str, Any]) -> Any:
    answer = scim("PATCH", path, {"schemas": [PATCH_OP], "Operations": list(operations)})
    assert answer.status_code in (200, 204), answer.text
    return answer


def ask(scim: ScimClient, body: dict[str, Any], feed: str = "default") -> dict[str, Any]:
    """Poll a feed (RFC 8936) and return the answer."""
    path = f"/Events/Feeds/{feed}/Stream"
    answer = scim("POST", path, {"returnImmediately": True, **body}, {"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    answered: dict[str, Any] = answer.json
    assert set(answered) == {"sets", "moreAvailable"}
    return answered


def unsecured_claims(text: str, jti: str) -> dict[str, Any]:
    """Return the claims of an unsecured JWT."""
    head, body, signature = text.split(".")
    assert json.loads(decoded(head)) == {"alg": "none", "typ": "secevent+jwt"}
    assert signature == ""
    claims: dict[str, Any] = json.loads(decoded(body))
    assert claims["jti"] == jti
    return claims


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
