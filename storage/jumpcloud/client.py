"""Calls of the JumpCloud API: how to speak to it, and the meaning of its refusals."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from storage import remote
from storage.errors import OutcomeUnknown, StorageReadOnly, StorageUnavailable, ValueRefused

_HEADERS: Final = {"Accept": "application/json", "Content-Type": "application/json"}

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """An answer that says the call was done; `total` is what the header x-total-count says."""

    body: Any
    total: int | None


class Rejection(ValueRefused):
    """JumpCloud does not want what the call asks for, and says why.

    `repeated` says that the call was sent before, and may have been done then.
    """

    def __init__(self, status: int, message: str, repeated: bool) -> None:
        super().__init__(f"JumpCloud: {message or status}")
        self.status = status
        self.repeated = repeated


class Client:
    """Calls the API at `url` with an API key. Threads share it; a child of a fork starts afresh."""

    def __init__(self, url: str, key: str, organisation: str, timeout_s: float, pool_size: int) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("JUMPCLOUD_URL must be a URL such as https://console.jumpcloud.com")
        if not all(text.isascii() and text.isprintable() for text in (key, organisation)):
            raise ValueError("JUMPCLOUD_KEY and JUMPCLOUD_ORG_ID must be printable ASCII")
        headers = {**_HEADERS, "x-org-id": organisation} if organisation else _HEADERS
        service = remote.Service(
            "JumpCloud", url.rstrip("/"), headers, key, ("x-api-key", key), "refuses the API key"
        )
        self._client = remote.Client(service, timeout_s, pool_size)
        self.pool_size = pool_size

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        body: Any = None,
        repeatable: bool = True,
        writes: bool | None = None,
    ) -> Answer:
        """Make one call and return its answer.

        It is sent again as `storage.remote` says. `writes` tells calls that change something; unless it
        is given, all but GET do. Raises Rejection for 400, 404, 409 and 422; StorageReadOnly;
        OutcomeUnknown for a change that may have been made by one of the attempts; StorageUnavailable
        and its children for everything else.
        """
        changes = method != "GET" if writes is None else writes
        request = remote.Request(method, path, params, body, changes=changes, repeatable=repeatable)
        answer = self._client.send(request)
        if answer.is_success:
            return Answer(answer.document, _count(answer.headers.get("x-total-count")))
        status, message = answer.status, _message(answer.document)
        if status == 403 and changes:
            refusal = f"the API key does not allow this change in JumpCloud: {message or status}"
            raise StorageReadOnly(refusal, refusal)
        if status in (400, 404, 409, 422):
            raise Rejection(status, message, answer.repeated)
        refused = f"JumpCloud refuses the request with status {status} {message}"
        raise OutcomeUnknown(refused) if answer.repeated else StorageUnavailable(refused)


def _message(document: Any) -> str:
    """Return what an error says, shortened."""
    message = document.get("message") if document is not None else None
    return " ".join(message.split())[:200] if isinstance(message, str) else ""


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and re.fullmatch("[0-9]{1,18}", value) else None
