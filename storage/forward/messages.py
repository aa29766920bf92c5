"""A request to the upstream, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the upstream said: status, headers, and the JSON object it sent, None without a body.

    `repeated` says that the request was sent before, and may have taken effect then.
    """

    status: int
    headers: Mapping[str, str]
    document: Any
    repeated: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Request:
    """A request: `path` below the URL of the upstream; a SEARCH is a POST that changes nothing."""

    method: str
    path: str
    params: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    if_match: str | None = None

    @property
    def is_write(self) -> bool:
        """Whether the request changes something at the upstream."""
        return self.method not in ("GET", "SEARCH")
