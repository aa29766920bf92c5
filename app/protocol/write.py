"""A write as a value: what was there, what is to be there, and who joins and leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.protocol.context import Context
from app.protocol.patch import RequestedMembers
from app.protocol.references import Named
from schema.resource_type import ResourceType
from storage.adapter import Member, StoredResource

Kind = Literal["create", "put", "patch", "delete"]


@dataclass(frozen=True, slots=True)
class MemberDelta:
    """Members that joined a resource, and those that left it.

    `has_displays` says that a member that stays is displayed in another way than before.
    """

    joined: Sequence[Member] = ()
    left: Sequence[Member] = ()
    has_displays: bool = False

    def __bool__(self) -> bool:
        return bool(self.joined or self.left)

    def then(self, later: "MemberDelta") -> "MemberDelta":
        """Return what this difference and a later one make together."""
        again = {member.key for member in (*later.joined, *later.left)}
        joined = [member for member in self.joined if member.key not in again]
        left = [member for member in self.left if member.key not in again]
        has_displays = self.has_displays or later.has_displays
        return MemberDelta([*joined, *later.joined], [*left, *later.left], has_displays)


NO_DELTA: Final = MemberDelta()


@dataclass(frozen=True, slots=True, repr=False)
class NewResource:
    """A resource that is not kept yet, and its members by id."""

    resource: StoredResource
    members: Named


@dataclass(frozen=True, slots=True, repr=False)
class NewState:
    """What a PUT or PATCH makes of a resource: its secrets and members stand beside it.

    `secrets` are as they came, `known` are the hashes that stay, and `removed` are paths of secrets
    that are to be kept no longer.
    """

    resource: dict[str, Any]
    members: RequestedMembers
    secrets: Mapping[str, str]
    known: Mapping[str, str]
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, repr=False)
class Write:
    """What one request changes: computed from what was read, and carried out by `Commit` alone.

    `before` is None for a new resource, and `after` for one that is removed. `is_same` says that the
    two differ in nothing but the time. `joining` and `leaving` are what the storage is asked
    to change; `delta` is what that changes really, where anybody wants to know. `feeds` are the groups
    that a removed resource was in. `first` are writes to be carried out before this one: the groups
    that a resource leaves because it is removed (`is_cascade`).
    """

    kind: Kind
    resource_type: ResourceType
    before: StoredResource | None
    after: StoredResource | None
    is_same: bool = False
    joining: Sequence[Member] = ()
    leaving: Sequence[Member] = ()
    delta: MemberDelta = NO_DELTA
    feeds: Sequence[str] = ()
    first: Sequence["Write"] = ()
    is_cascade: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether there is nothing to do."""
        return self.is_same and not self.joining and not self.leaving

    def plan(self, context: Context) -> dict[str, Any]:
        """Return what is needed to find out whether this write took effect, and to say who did what.

        There is never a secret in it: it lies in clear text in another database.
        """
        known = self.before or self.after
        assert known is not None
        return {
            "kind": self.kind,
            "type": self.resource_type.name,
            "id": known.id,
            "txn": context.txn,
            "context": {**context.as_json(), "origin": context.origin},
            "text": known.text,
            "version": self.before.version if self.before else None,
            "dates": [known.created, known.last_modified],
            "joined": [[m.resource_id, m.resource_type, m.display] for m in self.delta.joined],
            "left": [[m.resource_id, m.resource_type, m.display] for m in self.delta.left],
            "displays": self.delta.has_displays,
            "feeds": list(self.feeds),
        }


def planned(plan: Mapping[str, Any]) -> tuple[StoredResource, MemberDelta]:
    """Return the resource and the members that `Write.plan` was made of."""
    created, last_modified = plan["dates"]
    resource = StoredResource(
        plan["id"], plan["text"], plan["version"] or "", created=created, last_modified=last_modified
    )
    joined = [Member(*member) for member in plan["joined"]]
    left = [Member(*member) for member in plan["left"]]
    # Release 0.2.0 and earlier did not keep whether a display has changed.
    return resource, MemberDelta(joined, left, plan.get("displays", False))
