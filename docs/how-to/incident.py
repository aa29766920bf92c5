"""Plays an incident. Arguments: the port of the receiver; URL of the server, or receive for no incident."""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import quote
from urllib.request import Request, urlopen

USERS: Final = 500
SLOW: Final = quote('title eq "Manager"')
_PATIENCE_S: Final = 60
_BULK: Final = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
_PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"


class Receiver(BaseHTTPRequestHandler):
    """Takes every SET (RFC 8935)."""

    taken = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.end_headers()
        type(self).taken += 1

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing for a SET."""


def listen(port: int) -> ThreadingHTTPServer:
    """Return a receiver that listens; `serve_forever` lets it take SETs."""
    ThreadingHTTPServer.allow_reuse_address = True
    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


class Client:
    """A client with an API key."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request and return the answer."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/scim+json"}
        data = json.dumps(body).encode() if body is not None else None
        with urlopen(Request(self._url + path, data, headers, method=method), timeout=_PATIENCE_S) as answer:
            return json.loads(answer.read() or b"{}")

    def patch(self, user_id: str, **values: str) -> None:
        """Replace attributes of a user."""
        operations = [{"op": "replace", "path": path, "value": value} for path, value in values.items()]
        self("PATCH", f"/Users/{user_id}", {"schemas": [_PATCH], "Operations": operations})


def play(url: str, port: int) -> None:
    """Provision users while the receiver is up; then break three things."""
    hr, portal = Client(url, "hr"), Client(url, "portal")
    receiver = listen(port)
    threading.Thread(target=receiver.serve_forever).start()
    ids = [user_id for start in range(0, USERS, 100) for user_id in created(hr, start)]
    wait_for(lambda: Receiver.taken >= USERS)
    receiver.shutdown()
    receiver.server_close()
    for user_id in ids[:20]:
        hr.patch(user_id, title="Manager")
    for user_id in ids[:7]:
        hr.patch(user_id, title="Manager", employeeId="4711")
    for _ in range(5):
        portal("GET", f"/Users?filter={SLOW}")


def created(hr: Client, start: int) -> list[str]:
    """Create 100 users by one Bulk request and return their ids."""
    users = (
        {"schemas": [_USER], "userName": f"user{number}", "title": "Engineer"}
        for number in range(start, start + 100)
    )
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": user["userName"], "data": user} for user in users
    ]
    answer = hr("POST", "/Bulk", {"schemas": [_BULK], "Operations": operations})
    return [operation["location"].rpartition("/")[2] for operation in answer["Operations"]]


def wait_for(is_done: Callable[[], bool]) -> None:
    """Return when a condition is met; end the program if it takes too long."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_done():
        if time.monotonic() > deadline:
            sys.exit("the server has not delivered its events: is SET_PUSH_URL the address of this receiver?")
        time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[2] == "receive":
        listen(int(sys.argv[1])).serve_forever()
    else:
        play(sys.argv[2].rstrip("/"), int(sys.argv[1]))
