"""A member whose resource was read: what follows need not read it again."""

from dataclasses import dataclass

from storage.adapter import Member


@dataclass(frozen=True, slots=True, eq=False)
class KnownMember(Member):
    """A member as it was found: `own` is the display of the resource, whatever a client says of it."""

    own: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and (self.key, self.display) == (other.key, other.display)

    def __hash__(self) -> int:
        return hash((self.resource_id, self.resource_type, self.display))
