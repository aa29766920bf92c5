"""Single resources at the upstream: read, created, replaced, changed and deleted (RFC 7644 section 3)."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from urllib.parse import quote, unquote

from schema import urns
from schema.resource_type import ResourceType
from storage.adapter import StoredResource
from storage.errors import (
    BadBackendAnswer,
    OutcomeUnknown,
    ResourceNotFound,
    StorageReadOnly,
    StorageUnavailable,
    UnsupportedByBackend,
    VersionMismatch,
    after_write,
)
from storage.forward.abilities import Known
from storage.forward.asking import projection
from storage.forward.form import ResourceReader, Upstream
from storage.forward.listing import settled
from storage.forward.wire import raise_refusal, read_request, write_request
from storage.remote import Answer, Client

# An id that is longer is no id: it would not fit in a URL.
_LONGEST_ID = 1000


class Remembered:
    """What a thread has read since its operation began, so that it is not read again."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Remember until the context ends; one within another begins with nothing."""
        outer = getattr(self._local, "kept", None)
        self._local.kept = {}
        try:
            yield
        finally:
            self._local.kept = None if outer is None else {}

    @property
    def kept(self) -> dict[Any, Any]:
        """What is remembered; outside an operation, nothing stays in it."""
        kept = getattr(self._local, "kept", None)
        return {} if kept is None else kept


@dataclass(frozen=True)
class Session:
    """What all parts of the adapter share: the client, the abilities of the upstream, what was read."""

    client: Client
    known: Known
    remembered: Remembered


class Exchange:
    """Resources of one type, one at a time. Members are not read along."""

    def __init__(self, session: Session, resource_type: ResourceType, reader: ResourceReader) -> None:
        self.session = session
        self.resource_type = resource_type
        self.reader = reader
        self._client = session.client
        self._type = resource_type
        self._known = session.known
        self._projection = projection(resource_type)

    # -- reading

    def current(self, resource_id: str) -> Upstream:
        """Return a resource as this operation saw it last, or as it is. Raises ResourceNotFound."""
        known: Upstream | None = self.session.remembered.kept.get((self._type.name, resource_id))
        return known if known is not None else self.read(resource_id)

    def read(self, resource_id: str) -> Upstream:
        """Return a resource as it is. Raises ResourceNotFound."""
        answer = self._client.send(read_request(self.path(resource_id), self._projection))
        if answer.status in (400, 405, 414):
            # What the upstream does not take for an id is none of its ids.
            raise ResourceNotFound(self._type.name, resource_id)
        if not answer.is_success:
            self._refuse(answer, resource_id, reading=True)
        found = self._read(answer)
        if found is None or found.stored.id != resource_id:
            raise ResourceNotFound(self._type.name, resource_id)
        return self._kept(found)

    def path(self, resource_id: str) -> str:
        """Return the path of a resource. Raises ResourceNotFound for what cannot be an id."""
        segments = resource_id.split("/")
        try:
            quoted = quote(resource_id, safe="")
        except UnicodeEncodeError:
            quoted = ""
        is_plain = resource_id.isprintable() and not {"", ".", ".."} & set(segments)
        if not quoted or not is_plain or len(quoted) > _LONGEST_ID:
            raise ResourceNotFound(self._type.name, resource_id)
        return f"{self._type.endpoint}/{quoted}"

    # -- writing

    def create(self, resource: StoredResource) -> Upstream:
        """Create a resource and return it under the id that the upstream gave it."""
        document = self.reader.written(resource)
        request = write_request("POST", self._type.endpoint, self._projection, document)
        answer = self._client.send(request)
        if not answer.is_success:
            if answer.status in (404, 410):
                raise BadBackendAnswer(f"{self._client.name} has no {self._type.endpoint}")
            self._refuse(answer, "", document)
        with after_write():
            return self._created(answer)

    def _created(self, answer: Answer) -> Upstream:
        found = self._read(answer)
        if found is None:
            location = unquote(str(answer.headers.get("Location") or "").rstrip("/").rpartition("/")[2])
            if not location:
                raise BadBackendAnswer(f"{self._client.name} sent no id of the new resource")
            return self.read(location)
        if self._type.memberships is not None and found.stored.memberships is None:
            # Nobody had time to make it a member of anything.
            found = replace(found, stored=replace(found.stored, memberships=(), joined=False))
        return self._kept(found)

    def replace(self, resource: StoredResource, if_version: str | None) -> Upstream:
        """Put a resource in place of what has its id; members stay as they are."""
        before = self._at(resource.id, if_version)
        abilities = self._known()
        patches = abilities.patch and abilities.can("PATCH")
        # To leave a secret out of a PUT is to say nothing of it.
        puts = abilities.can("PUT") and self._type.members is None and not resource.removed_secrets
        if puts or not patches:
            return self._put(resource, before, if_version)
        operations = self.reader.difference(resource, before)
        if not operations:
            return before
        try:
            return self.patch(resource.id, operations, before.tag if if_version else None, resource.document)
        except UnsupportedByBackend:
            if not abilities.can("PUT"):
                raise
            return self._put(resource, before, if_version)

    def _put(self, resource: StoredResource, before: Upstream, if_version: str | None) -> Upstream:
        if resource.removed_secrets:
            raise UnsupportedByBackend("a secret cannot be removed: the upstream does not support PATCH")
        document = self.reader.written(resource, before)
        if self._type.members is not None:
            document |= self.links(resource.id)
        tag = before.tag if if_version else None
        try:
            return self.put(resource.id, document, tag)
        except UnsupportedByBackend:
            abilities = self._known()
            if not (abilities.patch and abilities.can("PATCH")):
                raise
            operations = self.reader.difference(resource, before)
            return self.patch(resource.id, operations, tag, document) if operations else before

    def links(self, resource_id: str) -> dict[str, Any]:
        """Return the members of a resource as the upstream shows them, by the name of the attribute."""
        assert self._type.members is not None
        name = self._type.members.name
        answer = self._client.send(read_request(self.path(resource_id), {"attributes": name}))
        if not answer.is_success:
            self._refuse(answer, resource_id, reading=True)
        members = (answer.document or {}).get(name)
        return {name: members} if members else {}

    def put(self, resource_id: str, document: Mapping[str, Any], tag: str | None) -> Upstream:
        """Send a whole resource, members included. Raises UnsupportedByBackend."""
        return self._changed("PUT", resource_id, document, tag, document)

    def patch(
        self,
        resource_id: str,
        operations: Sequence[Mapping[str, Any]],
        tag: str | None,
        document: Mapping[str, Any],
    ) -> Upstream:
        """Send operations; `document` is what they lead to. Raises UnsupportedByBackend."""
        body = {"schemas": [urns.PATCH_OP], "Operations": operations}
        return self._changed("PATCH", resource_id, body, tag, document)

    def _changed(
        self,
        method: str,
        resource_id: str,
        body: Mapping[str, Any],
        tag: str | None,
        document: Mapping[str, Any],
    ) -> Upstream:
        path = self.path(resource_id)
        # Whatever comes of it, what was read before is old.
        self.session.remembered.kept.pop((self._type.name, resource_id), None)
        answer = self._client.send(write_request(method, path, self._projection, body, tag))
        if answer.repeated and answer.status == 412:
            # The version may have been made by the first sending.
            raise OutcomeUnknown(f"{self._client.name} did not answer the first {method}")
        if answer.status in (405, 501):
            self._known().refuse(method)
        if not answer.is_success:
            self._refuse(answer, resource_id, document)
        with after_write():
            found = self._read(answer)
            # Without content, only reading tells what became of it.
            return self._kept(found) if found is not None else self.read(resource_id)

    def delete(self, resource_id: str, if_version: str | None) -> None:
        """Delete a resource."""
        tag = self._at(resource_id, if_version).tag if if_version is not None else None
        answer = self._client.send(write_request("DELETE", self.path(resource_id), {}, tag=tag))
        self.session.remembered.kept.pop((self._type.name, resource_id), None)
        if answer.status in (404, 410) and answer.repeated:
            # It was the first request that deleted it.
            return
        if answer.status == 412 and answer.repeated:
            raise OutcomeUnknown(f"{self._client.name} did not answer the first DELETE")
        if answer.status in (400, 405, 414) and if_version is None:
            self.read(resource_id)
        if not answer.is_success:
            self._refuse(answer, resource_id)

    def _at(self, resource_id: str, if_version: str | None) -> Upstream:
        found = self.current(resource_id)
        if if_version is not None and found.stored.version != if_version:
            raise VersionMismatch(f"{self._type.name} {resource_id} is at {found.stored.version}")
        return found

    # -- answers

    def _read(self, answer: Answer) -> Upstream | None:
        if answer.document is None or "id" not in answer.document:
            return None
        return self.reader.read(answer.document, answer.headers.get("ETag"))

    def _kept(self, found: Upstream) -> Upstream:
        (known,) = settled(self._type, [found], self._known())
        self.session.remembered.kept[self._type.name, known.stored.id] = known
        return known

    def _refuse(
        self,
        answer: Answer,
        resource_id: str,
        document: Mapping[str, Any] | None = None,
        reading: bool = False,
    ) -> NoReturn:
        try:
            raise_refusal(answer, self._client.name, self._type, resource_id, document or {})
        except StorageReadOnly as exc:
            if reading:
                raise StorageUnavailable(f"{self._client.name} does not let this key read") from exc
            raise
