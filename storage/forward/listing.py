"""Pages of the upstream's resources of one type (RFC 7644 section 3.4.2), however it cuts them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from schema import urns
from schema.resource_type import ResourceType
from scim_filter import render
from scim_filter.nodes import Node, filter_paths
from storage.adapter import Sort
from storage.errors import BadBackendAnswer, StorageUnavailable, ValueRefused
from storage.forward.abilities import Abilities, Known
from storage.forward.answers import detail_of, raise_refusal, scim_type_of
from storage.forward.filter import clauses
from storage.forward.messages import Answer, Request
from storage.forward.resources import ResourceReader, Upstream
from storage.forward.transport import Transport

# A longer filter goes in the body of a POST: servers and proxies limit the length of a URL.
_LONGEST_IN_URL: Final = 1500


class NotHonoured(Exception):
    """The upstream does not do `what` (names as in `Abilities.refused`): it has to be done here.

    `is_lasting` says whether it would do no better the next time.
    """

    def __init__(self, what: frozenset[str], is_lasting: bool = True) -> None:
        super().__init__(", ".join(sorted(what)))
        self.what = what
        self.is_lasting = is_lasting


@dataclass(frozen=True)
class Question:
    """What is asked of the upstream: a filter and an order, each of them or neither."""

    filter: Node | None = None
    sort: Sort | None = None

    @property
    def names(self) -> frozenset[str]:
        """What the upstream must be able to do."""
        names = set(clauses(self.filter)) if self.filter is not None else set()
        return frozenset(names | ({f"sort:{self.sort.path.text}"} if self.sort else set()))


class Listing:
    """Reads lists of one resource type."""

    def __init__(
        self, transport: Transport, resource_type: ResourceType, reader: ResourceReader, known: Known
    ) -> None:
        self._transport = transport
        self._type = resource_type
        self._reader = reader
        self._known = known
        self.projection = projection(resource_type)

    def part(self, question: Question, start: int, count: int | None) -> tuple[list[Upstream], int]:
        """Return up to `count` resources from place `start` on (from 0), and the total of the answer.

        Raises NotHonoured when the upstream refuses the question.
        """
        got: dict[str, Upstream] = {}
        page = self._known().page
        while True:
            wanted = page if count is None else min(page, count - len(got))
            found, total = self._page(question, start + len(got), wanted)
            # A page with nothing new would be followed by others of its kind.
            new = {one.stored.id: one for one in found if one.stored.id not in got}
            got |= new
            if not new or start + len(got) >= total or (count is not None and len(got) >= count):
                return self._settled(list(got.values())[:count]), total

    def walk(self, question: Question) -> Iterator[Upstream]:
        """Yield every resource of the answer, page by page. Raises NotHonoured."""
        start, page = 0, self._known().page
        seen: set[str] = set()
        while True:
            found, total = self._page(question, start, page)
            new = [one for one in self._settled(found) if one.stored.id not in seen]
            seen.update(one.stored.id for one in new)
            yield from new
            start += len(found)
            if not new or start >= total:
                return

    def _settled(self, found: list[Upstream]) -> list[Upstream]:
        """Return the resources with their memberships, as far as those are sure to be all."""
        return settled(self._type, found, self._known())

    # -- one page

    def _page(self, question: Question, start: int, count: int) -> tuple[list[Upstream], int]:
        answer = self._asked(question, start, count)
        document = answer.document or {}
        listed = document.get("Resources") or []
        total = document.get("totalResults")
        if isinstance(total, str) and total.isdigit():
            total = int(total)
        if total is None and start == 0 and "Resources" in document:
            total = len(listed)
        if not isinstance(listed, list) or not isinstance(total, int) or total < 0:
            raise BadBackendAnswer(f"{self._transport.name} answers something that is no list of resources")
        if start > 0 and listed and len(listed) == total:
            # Some do not page at all: everything came.
            listed = listed[start:]
        elif isinstance(document.get("startIndex"), int) and listed and document["startIndex"] != start + 1:
            raise BadBackendAnswer(f"{self._transport.name} answers with another page than was asked for")
        found = [self._reader.read(raw) for raw in listed if isinstance(raw, Mapping)]
        return found, max(total, start + len(found))

    def _asked(self, question: Question, start: int, count: int) -> Answer:
        params: dict[str, Any] = {**self.projection, "startIndex": start + 1, "count": count}
        if question.filter is not None:
            params["filter"] = render(question.filter)
        if question.sort is not None:
            params["sortBy"] = question.sort.path.text
            params["sortOrder"] = "descending" if question.sort.descending else "ascending"
        abilities = self._known()
        answer = None
        if len(params.get("filter", "")) > _LONGEST_IN_URL and abilities.can("search"):
            answer = self._posted(params)
            if answer.status in (404, 405, 501):
                abilities.refuse("search")
                answer = None
        if answer is None:
            sent = {name: str(value) for name, value in params.items()}
            answer = self._transport.send(Request("GET", self._type.endpoint, sent))
        if not answer.is_success:
            self._refused(answer, question, abilities)
        return answer

    def _posted(self, params: Mapping[str, Any]) -> Answer:
        body = {"schemas": [urns.SEARCH_REQUEST], **params}
        for name in ("attributes", "excludedAttributes"):
            if name in params:
                body[name] = params[name].split(",")
        return self._transport.send(Request("SEARCH", f"{self._type.endpoint}/.search", {}, body))

    def _refused(self, answer: Answer, question: Question, abilities: Abilities) -> None:
        name = self._transport.name
        if answer.status == 401:
            raise_refusal(answer, name, self._type, "", {})
        if scim_type_of(answer) == "tooMany":
            raise ValueRefused(detail_of(answer) or "the upstream finds too many resources", "tooMany")
        if question.names:
            if answer.status == 501 and question.filter is not None:
                abilities.refuse("filter")
            # One of several clauses may be to blame, or the length of it all.
            text = render(question.filter) if question.filter is not None else ""
            raise NotHonoured(question.names, len(question.names) == 1 and len(text) < _LONGEST_IN_URL)
        if answer.status == 403:
            raise StorageUnavailable(f"{name} does not let this key list {self._type.endpoint}")
        raise BadBackendAnswer(f"{name} answers {answer.status} to a list of {self._type.endpoint}")


def projection(resource_type: ResourceType) -> dict[str, str]:
    """Return the parameter that asks for all of a resource but its members."""
    members = resource_type.members
    on_request = any(
        "request" in (path.attribute.returned, path.leaf.returned) for path in resource_type.simple_paths
    )
    if on_request:
        # They come only when they are named, and then so must be everything else.
        names = [a.name for a in resource_type.attributes if a.returned != "never" and a is not members]
        wanted = [path.text for path in resource_type.simple_paths if path.leaf.returned == "request"]
        extensions = [
            f"{e.schema.id}:{a.name}" for e in resource_type.extensions for a in e.schema.attributes
        ]
        return {"attributes": ",".join(dict.fromkeys([*names, *extensions, *wanted]))}
    return {"excludedAttributes": members.name} if members is not None else {}


def settled(resource_type: ResourceType, found: list[Upstream], abilities: Abilities) -> list[Upstream]:
    """Return resources with no memberships where an upstream that lists them shows none."""
    if resource_type.memberships is None:
        return found
    if any(one.stored.memberships for one in found):
        abilities.lists_memberships = True
    if not abilities.lists_memberships:
        return found
    return [
        one
        if one.stored.memberships is not None
        else replace(one, stored=replace(one.stored, memberships=(), joined=False))
        for one in found
    ]


def is_about_links(resource_type: ResourceType, node: Node) -> bool:
    """Return whether a filter asks for members or memberships."""
    links = (resource_type.members, resource_type.memberships)
    return any(path.attribute in links for path in filter_paths(node))
