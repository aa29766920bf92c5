"""Creating, replacing and deleting users and groups; SSH keys change along with their user."""

import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

import orjson

from schema import urns
from storage.adapter import StoredResource
from storage.errors import BadBackendAnswer, OutcomeUnknown, StorageError, UniquenessConflict, after_write
from storage.jumpcloud import ssh
from storage.jumpcloud.client import Rejection
from storage.jumpcloud.find import GroupFinder, UserFinder
from storage.jumpcloud.form import Form
from storage.jumpcloud.wire import USERS, Directory, Json, Missing, id_of
from storage.uniqueness import unique_values

_LOCKS: Final = 64


class Turns:
    """Locks of this process by name; several names may share one."""

    def __init__(self) -> None:
        self._locks = [threading.RLock() for _ in range(_LOCKS)]

    @contextmanager
    def of(self, names: Iterable[str]) -> Iterator[None]:
        """Hold the locks of all names."""
        # One order for all threads, or two of them could wait for each other.
        numbers = sorted({zlib.crc32(name.encode("utf-8", "replace")) % _LOCKS for name in names})
        with ExitStack() as stack:
            for number in numbers:
                stack.enter_context(self._locks[number])
            yield


class Writer:
    """Writes the resources of one type; `form` and `finder` are those of the type."""

    # Fields whose values JumpCloud gives to one resource, and their attributes. The first is a name.
    unique: Mapping[str, str] = {}

    def __init__(self, directory: Directory, form: Form, finder: UserFinder | GroupFinder) -> None:
        self.form = form
        self.finder = finder
        self._directory = directory

    def live(self, resource_id: str) -> Json:
        """Return a user or group as JumpCloud shows it. Raises Missing, also for a hidden one."""
        live = self._directory.read(self.form.kind, resource_id)
        if self.form.hides(live):
            raise Missing
        return live

    def names(self, resource: StoredResource) -> list[str]:
        """Return the names of the locks on a resource's unique values."""
        values = unique_values(self.form.resource_type, resource.document)
        return [f"{self.form.kind.path} {path.text} {key}" for path, key in values]

    def create(self, resource: StoredResource) -> StoredResource:
        """Create a resource. Raises UniquenessConflict and ValueRefused."""
        body = self.form.new(resource)
        self._refuse_taken(resource)
        try:
            created = self._directory.create(self.form.kind, body)
        except Rejection as rejection:
            self._explain(rejection, body, "")
            raise
        except OutcomeUnknown:
            unconfirmed = self._unconfirmed(body)
            if unconfirmed is None:
                raise
            created = unconfirmed
        # The displays of members, which a group holds, may change before anybody reads them.
        return replace(self.form.read(created), joined=False, source=None)

    def _unconfirmed(self, body: Json) -> Json | None:
        """Return the result of a creation without an answer, if JumpCloud has it."""
        name = next(iter(self.unique))
        try:
            found = self._having({name: str(body.get(name))})
        except StorageError:
            return None
        # The stamp in its attributes is that of no other resource.
        own = self.form.own(body)
        return next((one for one in found if self.form.own(one) == own), None)

    def replace(self, resource: StoredResource, live: Json) -> StoredResource:
        """Make a user or group this resource. Raises UniquenessConflict, ValueRefused and Missing."""
        body = self.form.update(resource, live)
        self._refuse_taken(resource, self.form.read(live))
        try:
            return self.form.read(self._directory.update(self.form.kind, resource.id, body))
        except Rejection as rejection:
            self._explain(rejection, body, resource.id)
            raise

    def delete(self, resource_id: str) -> None:
        """Delete a user or group. Raises Missing."""
        self._directory.delete(self.form.kind, resource_id)

    def _refuse_taken(self, resource: StoredResource, before: StoredResource | None = None) -> None:
        """Raise UniquenessConflict for a new value that another resource has."""
        resource_type = self.form.resource_type
        known = set(unique_values(resource_type, before.document)) if before is not None else set()
        new = [value for value in unique_values(resource_type, resource.document) if value not in known]
        for other in self.finder.sharing(new, resource) if new else ():
            taken = set(unique_values(resource_type, other.document))
            for value in new:
                if value in taken and (before is None or other.id != before.id):
                    raise UniquenessConflict(value[0].text)

    def _explain(self, rejection: Rejection, body: Json, resource_id: str) -> None:
        """Raise UniquenessConflict if JumpCloud refused a body because of a value of another resource."""
        sent = {name: str(body[name]) for name in self.unique if body.get(name)}
        if not sent or rejection.status == 404:
            return
        for other in self._having(sent):
            for name, value in sent.items():
                if str(other.get(name)).lower() == value.lower() and id_of(other) != resource_id:
                    raise UniquenessConflict(self.unique[name]) from rejection
        if rejection.status == 409:
            raise UniquenessConflict(self.unique[next(iter(sent))]) from rejection

    def _having(self, values: Mapping[str, str]) -> Sequence[Json]:
        """Return the users or groups that have one of some values of unique fields."""
        raise NotImplementedError


class GroupWriter(Writer):
    """Writes groups."""

    unique = {"name": "displayName"}

    def _having(self, values: Mapping[str, str]) -> Sequence[Json]:
        return self._directory.groups_called(values["name"])


class UserWriter(Writer):
    """Writes users with their SSH keys, which take calls of their own.

    Until all keys are changed, a user is shown with its former keys: a client that repeats a failed
    request sees the difference.
    """

    unique = {
        "username": "userName",
        "email": "emails.value",
        "employeeIdentifier": f"{urns.ENTERPRISE_USER}:employeeNumber",
    }

    def _having(self, values: Mapping[str, str]) -> Sequence[Json]:
        terms = [{name: text} for name, value in values.items() for text in {value, value.lower()}]
        return self._directory.search({"or": terms})[0]

    def create(self, resource: StoredResource) -> StoredResource:
        wanted = ssh.keys_in(resource.document)
        if not wanted:
            return super().create(resource)
        left = ssh.without_keys(resource.document[ssh.ATTRIBUTE], frozenset(wanted))
        user_id = super().create(_with_elements(resource, left)).id
        try:
            with after_write():
                self._change_keys(user_id, {}, wanted)
                attributes = {"attributes": self.form.new(resource)["attributes"]}
                created = self._directory.update(USERS, user_id, attributes)
        except (Missing, StorageError) as failure:
            if self._is_removed(user_id) and isinstance(failure, OutcomeUnknown):
                raise BadBackendAnswer(str(failure)) from failure
            raise
        return replace(self.form.read(created), joined=False)

    def _is_removed(self, user_id: str) -> bool:
        """Delete a user and return whether it is gone for certain."""
        try:
            self.delete(user_id)
        except Missing:
            return True
        except StorageError:
            return False
        return True

    def replace(self, resource: StoredResource, live: Json) -> StoredResource:
        before = self.form.read(live)
        had, wanted = ssh.keys_in(before.document), ssh.keys_in(resource.document)
        if had == wanted:
            return super().replace(resource, live)
        super().replace(_with_elements(resource, before.document.get(ssh.ATTRIBUTE)), live)
        with after_write():
            self._change_keys(resource.id, had, wanted)
            attributes = {"attributes": self.form.update(resource, live)["attributes"]}
            return self.form.read(self._directory.update(USERS, resource.id, attributes))

    def _change_keys(self, user_id: str, had: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        """Add the wanted keys that are missing, and remove the former ones; all other keys stay."""
        present = {
            ssh.key_of(entry["public_key"]): str(entry.get("_id") or entry.get("id"))
            for entry in self._directory.ssh_keys(user_id)
        }
        for key, line in wanted.items():
            if key not in present:
                self._directory.add_ssh_key(user_id, ssh.name_of(key), line)
        for key in had.keys() - wanted.keys():
            if key in present:
                self._directory.remove_ssh_key(user_id, present[key])


def _with_elements(resource: StoredResource, elements: list[object] | None) -> StoredResource:
    return replace(resource, text=orjson.dumps(ssh.with_elements(resource.document, elements)).decode())
