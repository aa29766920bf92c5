"""Users of JumpCloud: found, created and changed, their SSH keys along with them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import orjson

from schema import urns
from schema.resource_type import AttributePath
from scim_filter.nodes import BoundComparison, Node, any_of
from storage.adapter import Found, Selection, StoredResource
from storage.errors import (
    BadBackendAnswer,
    OutcomeUnknown,
    ResourceNotFound,
    StorageError,
    UniquenessConflict,
    after_write,
)
from storage.jumpcloud import ssh
from storage.jumpcloud.client import Rejection
from storage.jumpcloud.directory import Directory, Json, Missing, existing
from storage.jumpcloud.forms import UserForm
from storage.jumpcloud.identity import id_of
from storage.jumpcloud.memberships import Memberships
from storage.jumpcloud.user_search import UserSearch
from storage.uniqueness import unique_values

# Fields that JumpCloud gives to one user only, and the attributes that they hold.
_UNIQUE: Final = {
    "username": "userName",
    "email": "emails.value",
    "employeeIdentifier": f"{urns.ENTERPRISE_USER}:employeeNumber",
}


class Users:
    """What the adapter does with users."""

    def __init__(self, directory: Directory, form: UserForm, members: Memberships) -> None:
        self.form = form
        self._directory = directory
        self._type = form.resource_type
        self._search = UserSearch(directory, form, members)

    def scan(self) -> Iterator[StoredResource]:
        """Yield every user, in the order of creation."""
        return self._search.scan()

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`)."""
        return self._search.candidates(selection)

    # -- one user

    def live(self, user_id: str) -> Json:
        """Return a user as JumpCloud has it. Raises ResourceNotFound."""
        if not self._directory.is_id(user_id):
            raise ResourceNotFound(self._type.name, user_id)
        with existing(self._type.name, user_id):
            return self._directory.user(user_id)

    def names(self, resource: StoredResource) -> list[str]:
        """Return the unique values of a user, each with its path."""
        return [f"{path.text} {key}" for path, key in unique_values(self._type, resource.document)]

    def create(self, resource: StoredResource) -> StoredResource:
        """Create a user, with its SSH keys. Raises UniquenessConflict and ValueRefused."""
        body = self.form.new(resource)
        self._refuse_taken(resource)
        wanted = ssh.keys_in(resource.document)
        # Keys are a call each. Until they are all there the user is shown without them, so that
        # a client that tries again after a failure sees that they are missing.
        first = self.form.new(_without_keys(resource, frozenset(wanted))) if wanted else body
        created = self._create(first)
        if wanted:
            try:
                with after_write(), existing(self._type.name, id_of(created)):
                    self._change_keys(id_of(created), {}, wanted)
                    created = self._directory.update_user(id_of(created), {"attributes": body["attributes"]})
            except StorageError as failure:
                if self._is_removed(id_of(created)) and isinstance(failure, OutcomeUnknown):
                    raise BadBackendAnswer(str(failure)) from failure
                raise
        return replace(self.form.read(created), joined=False)

    def _is_removed(self, user_id: str) -> bool:
        """Remove a user and return whether it is gone for certain."""
        try:
            self._directory.delete_user(user_id)
        except Missing:
            return True
        except StorageError:
            return False
        return True

    def _create(self, body: Json) -> Json:
        try:
            return self._directory.create_user(body)
        except Rejection as rejection:
            self._explain(rejection, body, "")
            raise
        except OutcomeUnknown:
            created = self._created_after_all(body)
            if created is None:
                raise
            return created

    def _created_after_all(self, body: Json) -> Json | None:
        """Return the user whose creation was not confirmed, if it is there."""
        try:
            name = str(body["username"])
            found, _ = self._directory.search({"or": [{"username": text} for text in {name, name.lower()}]})
        except StorageError:
            return None
        return next((user for user in found if _has_pieces(user, body)), None)

    def replace(self, resource: StoredResource, live: Json) -> StoredResource:
        """Make a user this resource. Raises UniquenessConflict, ValueRefused and ResourceNotFound."""
        body = self.form.update(resource, live)
        before = self.form.read(live)
        self._refuse_taken(resource, before)
        had, wanted = ssh.keys_in(before.document), ssh.keys_in(resource.document)
        if had == wanted:
            return self.form.read(self._update(resource.id, body))
        # In between, the user is shown with the keys that it had: whatever stops this here, the
        # same change made again completes it.
        shown = _with_elements(resource, before.document.get(ssh.ATTRIBUTE))
        self._update(resource.id, self.form.update(shown, live))
        with after_write():
            self._change_keys(resource.id, had, wanted)
            return self.form.read(self._update(resource.id, {"attributes": body["attributes"]}))

    def _update(self, user_id: str, body: Json) -> Json:
        try:
            with existing(self._type.name, user_id):
                return self._directory.update_user(user_id, body)
        except Rejection as rejection:
            self._explain(rejection, body, user_id)
            raise

    def delete(self, user_id: str) -> None:
        """Delete a user. Raises ResourceNotFound."""
        if not self._directory.is_id(user_id):
            raise ResourceNotFound(self._type.name, user_id)
        with existing(self._type.name, user_id):
            self._directory.delete_user(user_id)

    def _change_keys(self, user_id: str, had: dict[str, str], wanted: dict[str, str]) -> None:
        """Add the wanted SSH keys that are missing, and remove those that were had and are not wanted.

        All others, which the client has never named, stay.
        """
        with existing(self._type.name, user_id):
            present: dict[str, str] = {}
            for entry in self._directory.ssh_keys(user_id):
                key = ssh.key_of(entry["public_key"])
                if key is not None:
                    present[key] = str(entry.get("_id") or entry.get("id"))
            for key, line in wanted.items():
                if key not in present:
                    self._directory.add_ssh_key(user_id, ssh.name_of(key), line)
            for key in had.keys() - wanted.keys():
                if key in present:
                    with suppress(Missing):
                        self._directory.remove_ssh_key(user_id, present[key])

    # -- unique values

    def _refuse_taken(self, resource: StoredResource, before: StoredResource | None = None) -> None:
        """Raise UniquenessConflict for a value that another user has; one call for all of them."""
        known = set(unique_values(self._type, before.document)) if before is not None else set()
        new = [entry for entry in unique_values(self._type, resource.document) if entry not in known]
        if not new:
            return
        parts: list[Node] = [BoundComparison(path, "eq", _value(path, resource), key) for path, key in new]
        native, _ = self._search.compiler.split(any_of(parts))
        for user in self._search.matching(native):
            if before is None or user.id != before.id:
                taken = set(unique_values(self._type, user.document))
                for entry in new:
                    if entry in taken:
                        raise UniquenessConflict(entry[0].text)

    def _explain(self, rejection: Rejection, body: Json, user_id: str) -> None:
        """Raise UniquenessConflict if a call was refused because another user has one of its values."""
        sent = {name: body[name] for name in _UNIQUE if body.get(name)}
        if not sent or rejection.status == 404:
            return
        terms = [{name: text} for name, value in sent.items() for text in {value, value.lower()}]
        found, _ = self._directory.search({"or": terms})
        for user in found:
            for name, value in sent.items():
                if str(user.get(name)).lower() == value.lower() and id_of(user) != user_id:
                    raise UniquenessConflict(_UNIQUE[name]) from rejection
        if rejection.status == 409:
            raise UniquenessConflict(_UNIQUE[next(iter(sent))]) from rejection


def _value(path: AttributePath, resource: StoredResource) -> Any:
    return path.values(resource.document)[0]


def _has_pieces(user: Json, body: Json) -> bool:
    """Return whether a user is what `body` creates: no two bodies have the same pieces."""
    attributes = user.get("attributes")
    return isinstance(attributes, list) and all(piece in attributes for piece in body["attributes"])


def _with_elements(resource: StoredResource, elements: Any) -> StoredResource:
    """Return a resource with other certificates."""
    document = {name: value for name, value in resource.document.items() if name != ssh.ATTRIBUTE}
    document |= {ssh.ATTRIBUTE: elements} if elements else {}
    return replace(resource, text=orjson.dumps(document).decode())


def _without_keys(resource: StoredResource, keys: frozenset[str]) -> StoredResource:
    return _with_elements(resource, ssh.without_keys(resource.document.get(ssh.ATTRIBUTE), keys))
