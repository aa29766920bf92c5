"""A client that writes as fast as it can while the processes that serve it are killed, again and again."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from app import create_app
from app.configuration.settings import Settings
from tests.conftest import Server
from tests.receivers import HttpReceiver

_EVENT = "urn:ietf:params:scim:event:prov:"
_PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Written:
    """What a client was told, and what it never heard of again."""

    created: set[str] = field(default_factory=set)
    patched: set[tuple[str, str]] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    unanswered: int = 0


class Storm:
    """Clients, a server of several web processes, and a worker beside it."""

    def __init__(self, server: Server, environ: Mapping[str, str], receiver: HttpReceiver) -> None:
        self._server = server
        self._environ = dict(environ)
        self._receiver = receiver
        self._over = threading.Event()
        self.written = Written()
        self.kills: Counter[str] = Counter()
        self._start_worker()

    def run(self, kills: int, clients: int = 3) -> None:
        """Write from several clients until so many processes were killed."""
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(kills):
                self._let_some_through()
                time.sleep(random.uniform(0.0, 0.2))
                self._kill_one()
        finally:
            time.sleep(0.3)
            self._over.set()
            for thread in threads:
                thread.join()

    def close(self) -> None:
        """End the worker."""
        self._worker.kill()
        self._worker.wait()

    # -- killing

    def _let_some_through(self) -> None:
        """Wait until clients are served again: killing what is down kills nothing."""
        written = self.written
        before, deadline = len(written.created), time.monotonic() + 20
        while len(written.created) < before + 3:
            assert time.monotonic() < deadline, "nobody is served any more"
            time.sleep(0.01)

    def _start_worker(self) -> None:
        scim = Path(sys.executable).parent / "scim"
        self._worker = subprocess.Popen([scim, "worker"], env=self._environ, start_new_session=True)

    def _kill_one(self) -> None:
        victim = random.choices(["web process", "worker", "whole server"], [5, 3, 2])[0]
        if victim == "worker":
            self._worker.kill()
            self._worker.wait()
            self._start_worker()
        elif victim == "whole server":
            self._server.kill()
            self._server.start()
        else:
            children = Path(f"/proc/{self._server.process.pid}/task/{self._server.process.pid}/children")
            processes = children.read_text().split()
            if not processes:
                victim = "nobody: it was restarting"
            for process in processes[:1] if random.random() < 0.7 else processes:
                os.kill(int(process), signal.SIGKILL)
        self.kills[victim] += 1

    # -- writing

    def _write(self, client: int) -> None:
        mine: list[str] = []
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                self._write_once(f"u{client}-{number}", mine)
            except requests.RequestException:
                self.written.unanswered += 1
                time.sleep(0.02)

    def _write_once(self, name: str, mine: list[str]) -> None:
        written = self.written
        choice = random.random()
        if choice < 0.6 or not mine:
            answer = self._server("POST", "/Users", json={"userName": name})
            if answer.status_code == 201:
                mine.append(answer.json()["id"])
                written.created.add(mine[-1])
            else:
                self._not_done(answer)
        elif choice < 0.9:
            target = random.choice(mine)
            operations = [{"op": "replace", "path": "title", "value": name}]
            answer = self._server(
                "PATCH", f"/Users/{target}", json={"schemas": [_PATCH_OP], "Operations": operations}
            )
            if answer.status_code == 200:
                written.patched.add((target, answer.headers["ETag"]))
            else:
                self._not_done(answer)
        else:
            # Whatever comes of it, nobody writes to it again.
            target = mine.pop(random.randrange(len(mine)))
            answer = self._server("DELETE", f"/Users/{target}")
            if answer.status_code == 204:
                written.deleted.add(target)
            else:
                self._not_done(answer)

    def _not_done(self, answer: requests.Response) -> None:
        # A server that is starting may refuse; nothing else may go wrong.
        assert answer.status_code == 503, answer.text
        self.written.unanswered += 1

    # -- afterwards

    def settle(self, seconds: float) -> None:
        """Wait until everything is delivered; writes whose process died are looked into at once."""
        environ = {**self._environ, "EMBEDDED_WORKER": "false"}
        app = create_app(Settings.from_env(environ))
        delivery = app.extensions["scim.delivery"]
        with delivery.database.transaction():
            # Nobody is writing any more: as if the time for that had passed.
            delivery.database.run("UPDATE scim_intent SET made_at = 0, due_at = 1")
        deadline = time.monotonic() + seconds
        while delivery.inventory.waiting() or any(s.pending for s in delivery.inventory.receivers()):
            assert time.monotonic() < deadline, (delivery.inventory.waiting(), delivery.inventory.receivers())
            time.sleep(0.1)
        delivery.database.close()
        app.extensions["scim.storage"].close()

    def check(self) -> dict[str, int]:
        """Assert that store, answers and events agree, and return how many there were of each."""
        written, stored = self.written, self._stored()
        events = [(next(iter(c["events"])), c) for c in self._receiver.claims]
        told = {kind: self._subjects(events, kind) for kind in ("create:notice", "patch:notice", "delete")}
        versions = {
            (claims["sub_id"]["id"], payload["version"])
            for uri, claims in events
            for payload in claims["events"].values()
            if uri == f"{_EVENT}patch:notice"
        }
        assert written.created <= told["create:notice"], "a create that was answered is no event"
        assert written.patched <= versions, "a patch that was answered is no event"
        assert written.deleted <= told["delete"], "a delete that was answered is no event"
        assert not stored & told["delete"], "an event tells of a delete that was not done"
        alive = told["create:notice"] - told["delete"]
        assert alive == stored, f"only told: {alive - stored}, only stored: {stored - alive}"
        assert not (stored & written.deleted), "a delete that was answered was not done"
        assert told["patch:notice"] <= told["create:notice"]
        return {
            "kills": self.kills.total(),
            "answered creates": len(written.created),
            "answered patches": len(written.patched),
            "answered deletes": len(written.deleted),
            "unanswered": written.unanswered,
            "SETs": len({claims["jti"] for _, claims in events}),
            "SETs that were delivered twice": len(events) - len({claims["jti"] for _, claims in events}),
        }

    def _subjects(self, events: list[tuple[str, dict[str, Any]]], kind: str) -> set[str]:
        return {claims["sub_id"]["id"] for uri, claims in events if uri == f"{_EVENT}{kind}"}

    def _stored(self) -> set[str]:
        found: set[str] = set()
        while True:
            page = self._server("GET", "/Users", params={"startIndex": len(found) + 1, "attributes": "id"})
            ids = {user["id"] for user in page.json()["Resources"]}
            if not ids:
                return found
            found |= ids
