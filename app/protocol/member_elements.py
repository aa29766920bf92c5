"""The members of a group as the filters of a PATCH see them: as a GET shows them (RFC 7643 section 4.2)."""

from collections.abc import Iterator

from app.protocol.references import Named
from app.protocol.view import View
from schema.resource_type import ResourceType
from storage.adapter import StoredResource


class MemberElements:
    """Elements of the membership attribute of a stored resource, read when they are asked for."""

    def __init__(self, view: View, resource_type: ResourceType, stored: StoredResource) -> None:
        self._view = view
        self._type = resource_type
        self._stored = stored

    def present(self) -> Iterator[dict[str, str]]:
        """Yield the members that there are."""
        members = self._view.storage.members(self._type, self._stored)
        return map(self._view.representation.member, members)

    def joining(self, named: Named) -> Iterator[dict[str, str]]:
        """Yield those of the named resources that can be members."""
        assert self._type.members is not None
        found, _ = self._view.references.existing(self._type.members, named)
        return map(self._view.representation.member, found)
