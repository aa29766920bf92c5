"""A request to the upstream, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the upstream said: status, headers, and the JSON object it sent, None without a body.

    `repeated` tells that the request was sent more than once.
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
