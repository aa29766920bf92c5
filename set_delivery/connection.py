"""The connection to a receiver or collector: one request after the other."""

import time
from collections.abc import Mapping
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

# No answer of a receiver is longer than this that anybody wants to read.
_ANSWER_BYTES: Final = 64 * 1024


class Connection:
    """The connection to a URL, and what is the same in every request; `token` is a bearer token."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        # Made once: it takes longer than to send it. Proxies and certificates come from the environment.
        self._request = requests.Request("POST", url, headers).prepare()
        with requests.Session() as session:
            self._settings = session.merge_environment_settings(url, {}, True, None, None)
        self._adapter = _Adapter()

    def post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> requests.Response:
        """Return the answer to a POST, its body not read yet; `headers` has its media type.

        Raises RequestException and HTTPError.
        """
        request = self._request.copy()
        request.body = body
        request.headers.update({**headers, "Content-Length": str(len(body))})
        # Past the session, which would look into a redirect even where it is not followed, and fail at
        # what is no URL. A token for one host must not go to another.
        return self._adapter.send(request, timeout=timeout_s, **self._settings)

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()


class _Adapter(HTTPAdapter):
    """Sends requests that differ in their content only; answers have a status, headers and a raw body."""

    _pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **settings: Any) -> Any:
        # With each request, the search for it would take as long as to write the request.
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **settings)
        return self._pool

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.headers, response.raw = resp.status, resp.headers, resp
        return response


def read(answer: requests.Response, until: float) -> bytes:
    """Return what an answer says, as far as it comes until this monotonic time: the status counts anyway."""
    said = b""
    while len(said) < _ANSWER_BYTES and time.monotonic() < until:
        try:
            # The bytes that are there, without waiting for the rest.
            chunk = answer.raw.read1(4096, decode_content=True)
        except HTTPError:
            break
        if not chunk:
            break
        said += chunk
    return said
