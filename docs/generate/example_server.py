"""A server in this process, on an empty store, whose answers are the same at each run."""

import json
import logging
import re
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from flask import Flask

from app import create_app
from app.configuration.settings import Settings
from storage.shared_options import DEFAULT_API_KEY

_SETTINGS: Final = {
    "EMBEDDED_WORKER": "false",
    "SET_POLL_ENABLED": "true",
    "SET_PUSH_URL": "https://receiver.example.com/events",
    "ASYNC_REQUEST": "request",
    "BASE_URL": "https://scim.example.com",
}
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_HEX: Final = re.compile(r"\b[0-9a-f]{32}\b")
_TIME: Final = re.compile(r"\b20\d\d-\d\d-\d\dT[\d:.]+Z")
_SECONDS: Final = re.compile(r'("iat": )\d+')
_AGE: Final = re.compile(r"(_seconds\{.*\} )[\d.]+")
_SIZE: Final = re.compile(r"(_bytes )[\d.]+")
_TOKEN: Final = re.compile(r"\beyJ[\w.-]+")


class ExampleServer:
    """Answers requests with the default API key; `settings` are variables beside those of the examples."""

    def __init__(self, **settings: str) -> None:
        self._settings = {**_SETTINGS, **settings}
        self._folder = tempfile.TemporaryDirectory(prefix="scim-reference")
        self._names: dict[str, str] = {}
        self.app: Flask

    def __enter__(self) -> "ExampleServer":
        url = f"sqlite:///{Path(self._folder.name) / 'scim.db'}"
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            self.app = create_app(Settings.from_env({**self._settings, "DATABASE_URL": url}))
        finally:
            logging.disable(level)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.app.extensions["scim.delivery"].database.close()
        self.app.extensions["scim.storage"].close()
        self._folder.cleanup()

    def work(self, piece: str) -> None:
        """Do a piece of what a worker would do now; nothing is sent to receivers."""
        self.app.extensions["scim.work"].pieces[piece].run(lambda: False)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the answer to a request; `If_Match` is the header If-Match."""
        sent = {"Authorization": f"Bearer {DEFAULT_API_KEY}", "Content-Type": "application/scim+json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, str | bytes | None) else json.dumps(body)
        return self.app.test_client().open(
            path, method=method, data=data, headers={name: value for name, value in sent.items() if value}
        )

    def text(self, path: str) -> str:
        """Return what is at a path."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def settled(self, text: str) -> str:
        """Return `text` with examples for whatever differs from run to run."""
        text = _UUID.sub(lambda match: self._name(match[0], "2819c223-7f76-453a-919d-4138619046"), text)
        text = _HEX.sub(lambda match: self._name(match[0], "6164f3bbf6ff41a88dc94f18cb0620"), text)
        text = _SECONDS.sub(r"\g<1>1767225600", text)
        text = _SIZE.sub(r"\g<1>323584.0", _AGE.sub(r"\g<1>0.25", text))
        return _TOKEN.sub("eyJ0eXAi…", _TIME.sub("2026-01-01T00:00:00.000Z", text))

    def _name(self, found: str, stem: str) -> str:
        return self._names.setdefault(found, f"{stem}{len(self._names) + 16:02x}")
