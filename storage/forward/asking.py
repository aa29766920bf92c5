"""Questions to the upstream about its resources of one type, and what it means to refuse them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schema import urns
from schema.resource_type import ResourceType
from scim_filter import render
from scim_filter.nodes import Node, filter_paths
from storage.adapter import Sort
from storage.errors import BadBackendAnswer, StorageUnavailable, ValueRefused
from storage.forward.abilities import Abilities, Known
from storage.forward.cursors import CursorLost
from storage.forward.filter import clauses
from storage.forward.wire import detail_of, read_request, scim_type_of, search_request
from storage.remote import Answer, Client

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
    """What is asked of the upstream: a filter and an order, each of them or neither.

    Without `attributes`, all of a resource is wanted but its members.
    """

    filter: Node | None = None
    sort: Sort | None = None
    attributes: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """What the upstream must be able to do."""
        names = set(clauses(self.filter)) if self.filter is not None else set()
        return frozenset(names | ({f"sort:{self.sort.path.text}"} if self.sort else set()))


class Asker:
    """Asks the upstream."""

    def __init__(self, client: Client, resource_type: ResourceType, known: Known) -> None:
        self._client = client
        self._type = resource_type
        self._known = known
        self._projection = projection(resource_type)

    def params(self, question: Question) -> dict[str, Any]:
        """Return the parameters that put a question."""
        params: dict[str, Any] = {**self._projection}
        if question.attributes:
            params = {"attributes": ",".join(question.attributes)}
        if question.filter is not None:
            params["filter"] = render(question.filter)
        if question.sort is not None:
            params["sortBy"] = question.sort.path.text
            params["sortOrder"] = "descending" if question.sort.descending else "ascending"
        return params

    def ask(self, question: Question, paging: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the list response to a question; `paging` are the parameters that choose a page.

        Raises NotHonoured, and CursorLost when it is the cursor that is refused.
        """
        params = {**paging, **self.params(question)}
        abilities = self._known()
        answer = None
        length = len(params.get("filter", "")) + len(params.get("cursor", ""))
        if length > _LONGEST_IN_URL and abilities.can("search"):
            answer = self._posted(params)
            if answer.status in (404, 405, 501):
                abilities.refuse("search")
                answer = None
        if answer is None:
            sent = {name: str(value) for name, value in params.items()}
            answer = self._client.send(read_request(self._type.endpoint, sent))
        if not answer.is_success:
            if _is_about_cursor(answer, question, paging.get("cursor")):
                raise CursorLost
            self._refused(answer, question, abilities)
        return answer.document or {}

    def _posted(self, params: Mapping[str, Any]) -> Answer:
        body = {"schemas": [urns.SEARCH_REQUEST], **params}
        for name in ("attributes", "excludedAttributes"):
            if name in params:
                body[name] = params[name].split(",")
        return self._client.send(search_request(f"{self._type.endpoint}/.search", body))

    def _refused(self, answer: Answer, question: Question, abilities: Abilities) -> None:
        name = self._client.name
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
        raise BadBackendAnswer(f"{name} answered a list of {self._type.endpoint} with {answer.status}")


def _is_about_cursor(answer: Answer, question: Question, cursor: str | None) -> bool:
    """Return whether it is for its cursor that a request was refused."""
    if cursor is None or answer.status not in (400, 404, 410) or scim_type_of(answer) == "tooMany":
        return False
    # The same question without a cursor may be refused for what else it says.
    named = scim_type_of(answer) in ("invalidCursor", "expiredCursor", "invalidCount")
    return bool(cursor) or named or (answer.status == 400 and not question.names)


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


def naming(resource_type: ResourceType) -> tuple[str, ...]:
    """Return the attributes that others show a resource by."""
    names = [path.text for path in resource_type.unique_paths if path.text != "externalId"]
    display = [] if resource_type.path("displayName") is None else ["displayName"]
    return tuple(dict.fromkeys([*display, *names])) or ("id",)


def is_about_links(resource_type: ResourceType, node: Node) -> bool:
    """Return whether a filter asks for members or memberships."""
    links = (resource_type.members, resource_type.memberships)
    return any(path.attribute in links for path in filter_paths(node))
