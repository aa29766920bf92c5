"""Serving below BASE_PATH, however the path arrives."""

from collections.abc import Iterable
from typing import Any


class BasePath:
    """WSGI middleware that takes BASE_PATH off the path, once or more, or not at all.

    A proxy may or may not have taken it off already. It may be there twice: `meta.location` has
    it, so that it is a valid reference, and SRAM appends `meta.location` to its base URL.
    """

    def __init__(self, application: Any, base_path: str) -> None:
        self._application = application
        self._base_path = base_path

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        while path == self._base_path or path.startswith(f"{self._base_path}/"):
            path = path[len(self._base_path) :]
        # Links are made for clients, who always see the base path.
        environ["SCRIPT_NAME"] = self._base_path
        environ["PATH_INFO"] = path or "/"
        result: Iterable[bytes] = self._application(environ, start_response)
        return result
