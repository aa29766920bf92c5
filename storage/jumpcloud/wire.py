"""The calls of the JumpCloud API as methods; the shape of every answer is checked."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from storage.batches import batches
from storage.errors import BadBackendAnswer, after_write
from storage.jumpcloud.client import Client, Params, Rejection

_LOG = logging.getLogger(__name__)

# The most entries of a page; the default of the API is 10.
PAGE: Final = 100

_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_OTHER_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)

Json = dict[str, Any]
Listed = tuple[list[Json], int | None]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Kind:
    """Users or user groups: their path, and the field that holds their id."""

    path: str
    id_name: str


USERS: Final = Kind("/api/systemusers", "_id")
GROUPS: Final = Kind("/api/v2/usergroups", "id")


class Missing(Exception):
    """JumpCloud has no resource with the id."""


class Directory:
    """Users and user groups of one organisation."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # None until JumpCloud has shown an id.
        self._has_object_ids: bool | None = None

    def is_id(self, text: str) -> bool:
        """Return whether JumpCloud can have the id; an unusual one only if its own ids are unusual."""
        if is_object_id(text):
            return True
        if _OTHER_ID.fullmatch(text) is None:
            return False
        if self._has_object_ids is None:
            some = self.users(0, 1)[0] or self.groups(0, 1)[0]
            self._has_object_ids = is_object_id(id_of(some[0])) if some else None
        return self._has_object_ids is False

    def abreast(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the result of `work` for each item, in order, with half of the connections at most.

        After a failure, items that wait do not begin.
        """
        width = min(len(items), max(1, self._client.pool_size // 2))
        if width < 2:
            return [work(item) for item in items]
        threads = ThreadPoolExecutor(width)
        try:
            return [done.result() for done in [threads.submit(work, item) for item in items]]
        finally:
            threads.shutdown(cancel_futures=True)

    def read(self, kind: Kind, resource_id: str) -> Json:
        """Return a user or group. Raises Missing."""
        if not self.is_id(resource_id):
            raise Missing
        return _object(self._of("GET", f"{kind.path}/{resource_id}"), kind.id_name)

    def create(self, kind: Kind, body: Json) -> Json:
        """Create a user or group and return it."""
        answer = self._client.call("POST", kind.path, body=body, repeatable=False)
        with after_write():
            return _object(answer.body, kind.id_name)

    def update(self, kind: Kind, resource_id: str, body: Json) -> Json:
        """Put fields of a user, or a whole group, and return the result. Raises Missing."""
        path = f"{kind.path}/{resource_id}"
        answered = self._of("PUT", path, body)
        with after_write():
            return _object(answered or self._of("GET", path), kind.id_name)

    def delete(self, kind: Kind, resource_id: str) -> None:
        """Delete a user or group. Raises Missing."""
        if not self.is_id(resource_id):
            raise Missing
        self._of("DELETE", f"{kind.path}/{resource_id}")

    def users(self, skip: int, limit: int, conditions: Sequence[str] = ()) -> Listed:
        """Return a page of the users that satisfy all conditions, and the number of such users."""
        params = [*_page(skip, limit), ("sort", "_id")]
        params += [(f"filter[{number}]", condition) for number, condition in enumerate(conditions)]
        with _unrefused("a list of users"):
            return _results(self._client.call("GET", USERS.path, params=params).body)

    def search(self, condition: Mapping[str, Any], skip: int = 0, limit: int = PAGE) -> Listed:
        """Return a page of the users that a search finds, and the number of such users."""
        body = {"filter": condition, "limit": limit, "skip": skip, "sort": "_id"}
        answer = self._client.call("POST", "/api/search/systemusers", body=body, writes=False)
        return _results(answer.body)

    def users_with(self, ids: Iterable[str]) -> dict[str, Json]:
        """Return the existing users among `ids` by their ids, in that order.

        JumpCloud is asked for each user that the search omits, because an index may lag; the log has the
        number of users that exist all the same.
        """
        wanted = list(dict.fromkeys(filter(self.is_id, ids)))
        found = self.searched(wanted)
        omitted = [user_id for user_id in wanted if user_id not in found] if len(wanted) > 1 else []
        existing = [user for user in self.abreast(self._existing, omitted) if user is not None]
        if existing:
            _LOG.warning("JumpCloud: a search for %s ids omitted %s users", len(wanted), len(existing))
        found |= {id_of(user): user for user in existing}
        return {user_id: found[user_id] for user_id in wanted if user_id in found}

    def searched(self, ids: Sequence[str]) -> dict[str, Json]:
        """Return the users that a search finds for `ids`, 100 in a call; for one id, the user with it."""
        if len(ids) == 1:
            user = self._existing(ids[0])
            return {} if user is None else {ids[0]: user}
        found: dict[str, Json] = {}
        for batch in batches(ids, PAGE):
            terms = [{"_id": user_id} for user_id in batch]
            with _unrefused("a search for users by id"):
                users, _ = self.search({"or": terms})
            found |= {id_of(user): user for user in users}
        if not found.keys() <= set(ids):
            raise BadBackendAnswer("JumpCloud sent other users than a search by id asked for")
        return found

    def _existing(self, user_id: str) -> Json | None:
        try:
            return self.read(USERS, user_id)
        except Missing:
            return None

    def ssh_keys(self, user_id: str) -> list[Json]:
        """Return the SSH keys of a user. Raises Missing."""
        return _objects(self._of("GET", f"{USERS.path}/{user_id}/sshkeys"), "public_key")

    def add_ssh_key(self, user_id: str, name: str, public_key: str) -> None:
        """Add an SSH key to a user. Raises Missing."""
        body = {"name": name, "public_key": public_key}
        self._of("POST", f"{USERS.path}/{user_id}/sshkeys", body, repeatable=False)

    def remove_ssh_key(self, user_id: str, key_id: str) -> None:
        """Remove an SSH key from a user, if it is there."""
        with suppress(Missing):
            self._of("DELETE", f"{USERS.path}/{user_id}/sshkeys/{key_id}")

    def groups(self, skip: int, limit: int) -> Listed:
        """Return a page of the groups by name, and the number of groups if JumpCloud says it."""
        params = [*_page(skip, limit), ("sort", "name")]
        with _unrefused("a list of groups"):
            answer = self._client.call("GET", GROUPS.path, params=params)
        return _objects(answer.body, "id"), answer.total

    def groups_called(self, name: str) -> list[Json]:
        """Return the group with exactly that name, if there is one."""
        params = [*_page(0, PAGE), ("filter", f"name:eq:{name}")]
        found = _objects(self._client.call("GET", GROUPS.path, params=params).body, "id")
        return [group for group in found if group.get("name") == name]

    def members(self, group_id: str) -> Iterator[list[str]]:
        """Yield the ids of the users in a group, a page at a time; none for a missing group."""
        return self._links(f"{GROUPS.path}/{group_id}/members")

    def groups_of(self, user_id: str) -> Iterator[list[str]]:
        """Yield the ids of the groups of a user, a page at a time; none for a missing user."""
        return self._links(f"/api/v2/users/{user_id}/memberof")

    def add_member(self, group_id: str, user_id: str) -> None:
        """Make a user a member of a group, if it is none. Raises Missing."""
        try:
            self._change_member(group_id, user_id, "add")
        except Rejection as rejection:
            if rejection.status != 409:
                raise

    def remove_member(self, group_id: str, user_id: str) -> None:
        """Remove a user from a group, if it is a member."""
        with suppress(Missing):
            self._change_member(group_id, user_id, "remove")

    def _change_member(self, group_id: str, user_id: str, operation: str) -> None:
        body = {"op": operation, "type": "user", "id": user_id}
        self._of("POST", f"{GROUPS.path}/{group_id}/members", body)

    def _links(self, path: str) -> Iterator[list[str]]:
        seen: set[str] = set()
        skip, before = 0, None
        while True:
            try:
                page = _objects(self._of("GET", path, params=_page(skip, PAGE)))
            except Missing:
                return
            _refuse_the_same(page, before)
            skip, before = skip + len(page), page
            # Some lists show a link, other lists show the linked resource itself.
            ends = [_object(entry.get("to", entry), "id") for entry in page]
            ids = [end["id"] for end in ends if end.get("type", "user") in ("user", "user_group")]
            yield [one for one in dict.fromkeys(ids) if one not in seen and self.is_id(one)]
            seen.update(ids)
            if len(page) < PAGE:
                return

    def _of(
        self, method: str, path: str, body: Any = None, *, params: Params = (), repeatable: bool = True
    ) -> Any:
        try:
            return self._client.call(method, path, body=body, params=params, repeatable=repeatable).body
        except Rejection as rejection:
            if rejection.status == 404 and method == "DELETE" and rejection.repeated:
                # An earlier attempt of this call, whose answer was lost, deleted the resource.
                return None
            if rejection.status == 404:
                raise Missing from rejection
            raise


def is_object_id(text: str) -> bool:
    """Return whether a text has the form of the ids in JumpCloud's documentation."""
    return _ID.fullmatch(text) is not None


def id_of(live: Mapping[str, Any]) -> str:
    """Return the id of a user or group."""
    return str(live.get("_id") or live.get("id"))


def every(page: Callable[[int, int], Listed]) -> Iterator[Json]:
    """Yield the entries of all pages, each once, even if others change the list meanwhile."""
    seen: set[str] = set()
    skip, before = 0, None
    while True:
        found, total = page(skip, PAGE)
        _refuse_the_same(found, before)
        skip, before = skip + len(found), found
        for entry in found:
            if id_of(entry) not in seen:
                seen.add(id_of(entry))
                yield entry
        if not found or (skip >= total if total is not None else len(found) < PAGE):
            return


@contextmanager
def _unrefused(call: str) -> Iterator[None]:
    """Raise BadBackendAnswer if JumpCloud refuses a call without any value of a client."""
    try:
        yield
    except Rejection as rejection:
        raise BadBackendAnswer(f"JumpCloud refuses {call} (status {rejection.status})") from rejection


def _refuse_the_same(page: list[Json], before: list[Json] | None) -> None:
    if page and page == before:
        # Reading on would not end.
        raise BadBackendAnswer("JumpCloud sends the same page again")


def _page(skip: int, limit: int) -> list[tuple[str, str]]:
    return [("limit", str(limit)), ("skip", str(skip))]


def _results(body: Any) -> Listed:
    if not isinstance(body, dict) or type(body.get("totalCount")) is not int:
        raise BadBackendAnswer("JumpCloud sent no page of users")
    return _objects(body.get("results"), "_id"), body["totalCount"]


def _objects(body: Any, *names: str) -> list[Json]:
    if not isinstance(body, list):
        raise BadBackendAnswer("JumpCloud sent an answer that is not a list")
    return [_object(entry, *names) for entry in body]


def _object(body: Any, *names: str) -> Json:
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in names):
        raise BadBackendAnswer("JumpCloud sent an object without the expected members")
    return body
