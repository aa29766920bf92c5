"""What the upstream can do: what its ServiceProviderConfig says, and what its answers showed.

The upstream is asked when the process first needs it, and again after it could not be reached: it was
restarted then, perhaps as another version. The server does not ask for a refused ability in between.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storage.forward.cursors import Marks
from storage.forward.wire import read_request
from storage.remote import Answer, Client

_LOG = logging.getLogger(__name__)

# Resources asked for in one page where the upstream does not say how many it gives.
PAGE: Final = 100


@dataclass
class Abilities:
    """What is known now. What the configuration leaves out is assumed until an answer disproves it.

    `refused` names what the upstream turned out not to do, or not as it is meant: `PUT`, `PATCH`,
    `filter`, `search`, `cursor`, `sort:<path>`, `clause:<path> <operator>`. `proved` names filters
    that were seen to be applied, by what nothing can match. `cursor` is whether the configuration
    offers cursors, `index` whether lists are paged by index, None when nothing has told. `marks`
    are where answers were read up to. `lists_memberships` is whether users come with their groups,
    None when no answer has told yet.
    """

    patch: bool = True
    filter: bool = True
    sort: bool = True
    page: int = PAGE
    cursor: bool = False
    index: bool | None = None
    refused: set[str] = field(default_factory=set)
    proved: set[str] = field(default_factory=set)
    marks: Marks = field(default_factory=Marks)
    lists_memberships: bool | None = None

    @property
    def pages_by_cursor(self) -> bool:
        """Whether a cursor is the only way to what is not on the first page."""
        return self.index is False and self.can("cursor")

    @property
    def walks_by_cursor(self) -> bool:
        """Whether whole answers are read by cursor: others may change resources meanwhile."""
        return self.pages_by_cursor or (self.cursor and self.can("cursor"))

    def can(self, what: str) -> bool:
        """Return whether the upstream is thought to do `what`."""
        return what not in self.refused

    def refuse(self, what: str) -> None:
        """Note what the upstream does not do: the server finds another way from now on."""
        if what not in self.refused:
            self.refused.add(what)
            _LOG.warning("the upstream refuses %s or ignores it: %d fallbacks now", what, len(self.refused))


class Known:
    """The abilities of one upstream."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._read: tuple[Abilities, int] | None = None

    def __call__(self) -> Abilities:
        """Return what is known. Raises StorageUnavailable when the upstream does not answer."""
        if self._read is None or self._read[1] != self._client.outages:
            abilities = _read(self._client.send(read_request("/ServiceProviderConfig", {})))
            self._read = abilities, self._client.outages
        return self._read[0]


def _read(answer: Answer) -> Abilities:
    config = answer.document if answer.is_success and isinstance(answer.document, Mapping) else {}
    limit = _part(config, "filter").get("maxResults")
    cursor, index = (_part(config, "pagination").get(name) for name in ("cursor", "index"))
    return Abilities(
        patch=_is_supported(config, "patch"),
        filter=_is_supported(config, "filter"),
        sort=_is_supported(config, "sort"),
        cursor=cursor is True,
        # What has neither is read by index: that ends with the first page, if need be.
        index=index if isinstance(index, bool) and (index or cursor is not False) else None,
        page=limit if isinstance(limit, int) and 0 < limit < PAGE else _page_size(config, limit),
    )


def _page_size(config: Mapping[str, Any], limit: Any) -> int:
    greatest = _part(config, "pagination").get("maxPageSize", limit)
    return greatest if isinstance(greatest, int) and 0 < greatest <= 1000 else PAGE


def _is_supported(config: Mapping[str, Any], name: str) -> bool:
    return _part(config, name).get("supported", True) is not False


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config.get(name)
    return part if isinstance(part, Mapping) else {}
