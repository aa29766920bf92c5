"""A stored resource as clients see it: with `meta`, members and memberships (RFC 7643 section 3.1).

What is returned by default leaves as the stored text with the computed attributes appended: the
text is parsed only when a projection or a filter asks for it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

import orjson

from schema.projection import Projection
from schema.registry import Registry
from schema.resource_type import ResourceType
from storage.adapter import Key, Member, Membership, StorageAdapter, StoredResource

# Ids that stand in a URL as they are.
_PLAIN_ID = re.compile(r"[A-Za-z0-9\-._~@:]+", re.ASCII)

# A group with more members than this leaves in chunks: its text is never whole in memory.
CHUNK = 1000

# The JSON of a resource: whole, or in chunks.
Text = str | Iterator[bytes]

# From this number of members on, the answer to a PATCH of a group does not repeat the group.
LARGE = 100


def quoted(resource_id: str) -> str:
    """Return an id as it stands in a URL."""
    return resource_id if _PLAIN_ID.fullmatch(resource_id) else quote(resource_id, safe="@:")


class Representation:
    """Makes representations; `prefix` precedes the endpoint in every location.

    With `members_on_request`, only a projection that names the members has them.
    """

    def __init__(
        self, registry: Registry, adapter: StorageAdapter, prefix: str, members_on_request: bool = False
    ) -> None:
        self._members_on_request = members_on_request
        self._adapter = adapter
        self.prefix = prefix
        self._roots = {r.name: f"{prefix}{r.endpoint}/" for r in registry.resource_types}
        self._names = {root: name for name, root in self._roots.items()}
        # Only a `returned: request` attribute makes the stored text more than the default answer.
        self._needs_projection = {
            r.name: any("request" in (p.attribute.returned, p.leaf.returned) for p in r.simple_paths)
            for r in registry.resource_types
        }

    def location(self, resource_type: str, resource_id: str) -> str:
        """Return the location of a resource, by the name of its type."""
        return self._roots[resource_type] + quoted(resource_id)

    def located(self, location: str) -> Key | None:
        """Return type and id of the resource at a location, None for what is the location of none."""
        root, slash, end = location.rpartition("/")
        name, resource_id = self._names.get(root + slash), unquote(end)
        if name is None or self.location(name, resource_id) != location:
            return None
        return name, resource_id

    def texts(
        self, resource_type: ResourceType, stored: Sequence[StoredResource], projection: Projection
    ) -> list[Text]:
        """Return the JSON of each resource under `projection`, in order.

        A resource with very many members comes in chunks: its text is never whole in memory.
        """
        with_members, with_memberships = projection.links
        if self._members_on_request and projection.requested is None:
            with_members = False
        memberships: Mapping[str, Sequence[Membership]] = {}
        if with_memberships:
            memberships = {one.id: one.memberships for one in stored if one.memberships is not None}
            asked = [one for one in stored if one.joined is not False and one.id not in memberships]
            if asked:
                memberships = {**memberships, **self._adapter.memberships(resource_type, asked)}
        whole = projection.is_default and not self._needs_projection[resource_type.name]
        texts = self._texts(resource_type, stored, memberships)
        if not whole:
            texts = [orjson.dumps(projection.apply(orjson.loads(text))).decode() for text in texts]
        if not with_members:
            return [*texts]
        shown = None if whole else projection
        return [self._joined(resource_type, one, text, shown) for one, text in zip(stored, texts)]

    def chunks(
        self, resource_type: ResourceType, stored: StoredResource, projection: Projection
    ) -> Text:
        """Return the JSON of one resource, as `texts` does."""
        return self.texts(resource_type, [stored], projection)[0]

    def is_large(self, resource_type: ResourceType, stored: StoredResource) -> bool:
        """Return whether a resource has more members than an answer should carry unasked."""
        if resource_type.members is None:
            return False
        return len(list(self._adapter.members(resource_type, stored, LARGE + 1))) > LARGE

    def document(self, resource_type: ResourceType, stored: StoredResource, links: bool) -> dict[str, Any]:
        """Return the whole resource; with `links`, members and memberships included."""
        memberships = self._memberships(resource_type, stored) if links else ()
        (text,) = self._texts(resource_type, [stored], {stored.id: memberships})
        if links and resource_type.members is not None:
            joined = self._joined(resource_type, stored, text)
            text = joined if isinstance(joined, str) else b"".join(joined).decode()
        document: dict[str, Any] = orjson.loads(text)
        return document

    def _memberships(self, resource_type: ResourceType, stored: StoredResource) -> Sequence[Membership]:
        if resource_type.memberships is None or stored.joined is False:
            return ()
        if stored.memberships is not None:
            return stored.memberships
        return self._adapter.memberships(resource_type, [stored]).get(stored.id, ())

    def _texts(
        self,
        resource_type: ResourceType,
        stored: Sequence[StoredResource],
        memberships: Mapping[str, Sequence[Membership]],
    ) -> list[str]:
        """Return the JSON of each resource with `meta`, and with those of `memberships` that are its own."""
        name, attribute = resource_type.name, resource_type.memberships
        root, ids = self._roots[name], [one.id for one in stored]
        # Looked at together: most pages have ids of this server alone.
        spelled = ids if _PLAIN_ID.fullmatch("".join(ids)) else map(quoted, ids)
        shown = {
            resource_id: f'"{attribute.name}":[{",".join(map(self._membership, found))}],'
            for resource_id, found in memberships.items()
            if found and attribute is not None
        }
        return [
            f'{one.text[:-1]},{shown.get(one.id, "") if shown else ""}"meta":{{"resourceType":"{name}",'
            f'"created":"{one.created}","lastModified":"{one.last_modified}",'
            f'"location":"{root}{link}","version":"W/\\"{one.version}\\""}}}}'
            for one, link in zip(stored, spelled, strict=True)
        ]

    def _joined(
        self,
        resource_type: ResourceType,
        stored: StoredResource,
        text: str,
        projection: Projection | None = None,
    ) -> Text:
        """Return `text` with the members, or with what `projection` leaves of each."""
        attribute = resource_type.members
        assert attribute is not None
        members = self._adapter.members(resource_type, stored)

        def shown(batch: Iterable[Member]) -> str:
            elements: Iterable[Mapping[str, Any]] = map(self.member, batch)
            if projection is not None:
                elements = (projection.element(attribute, element) for element in elements)
            return ",".join(orjson.dumps(element).decode() for element in elements if element)

        first = list(islice(members, CHUNK + 1))
        if len(first) <= CHUNK:
            joined = shown(first)
            return f'{text[:-1]},"{attribute.name}":[{joined}]}}' if joined else text
        return self._streamed(f'{text[:-1]},"{attribute.name}":[', first, members, shown)

    @staticmethod
    def _streamed(
        beginning: str, first: list[Member], rest: Iterator[Member], shown: Callable[[Iterable[Member]], str]
    ) -> Iterator[bytes]:
        yield beginning.encode()
        yield shown(first).encode()
        while batch := list(islice(rest, CHUNK)):
            yield ("," + shown(batch)).encode()
        yield b"]}"

    def member(self, member: Member) -> dict[str, str]:
        """Return a member as an element of the attribute."""
        return {
            "value": member.resource_id,
            "$ref": self.location(member.resource_type, member.resource_id),
            "type": member.resource_type,
            **({"display": member.display} if member.display else {}),
        }

    def _membership(self, membership: Membership) -> str:
        return orjson.dumps(
            {
                "value": membership.resource_id,
                "$ref": self.location(membership.resource_type, membership.resource_id),
                **({"display": membership.display} if membership.display else {}),
                "type": "direct" if membership.direct else "indirect",
            }
        ).decode()
