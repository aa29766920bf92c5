"""Who asks, for what, under which rules: one value that every operation takes first."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

from app.protocol.identifiers import ordered_uuid
from app.protocol.job import Job

Origin = Literal["rest", "bulk", "async", "import", "system"]

SCOPES: Final = frozenset({"scim.read", "scim.write", "scim.events", "scim.admin"})
"""What a client may be allowed to do; `scim.read:User` allows it for one resource type."""

TYPED_SCOPES: Final = frozenset({"scim.read", "scim.write"})
"""The scopes that can be limited to one resource type: events and metrics are about all of them."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A client that has proved who it is.

    `id` never changes and `name` is for people; `kind` says how the client proved it, `credential`
    with which credential. `user` is the id of the User that the client acts for. A client that is
    `own_only` sees nothing but what it has created.
    """

    id: str
    name: str
    kind: str
    scopes: frozenset[str] = frozenset()
    credential: str = ""
    user: str | None = None
    own_only: bool = False

    @property
    def owner(self) -> str | None:
        """The owner of what the client creates."""
        return self.id if self.own_only else None


@dataclass(frozen=True, slots=True)
class JobPart:
    """What a write completes: an accepted request, or the operation at `position` of a Bulk request.

    `request` says what is asked for, with `method`, `resource_type` and `resource_id`. `waits` says
    that an operation refers to resources that do not exist yet: it is written again when they do.
    """

    job: Job
    request: Mapping[str, Any]
    position: int | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that an operation knows of the request that it is part of.

    `profile` names the tolerances that the client is granted (`app.protocol.profiles`). `txn` names
    the transaction in events (RFC 9967 section 2.2); an empty one gets a name with the first write.
    `trace` is the traceparent of the trace that the request is part of, empty without one.
    """

    principal: Principal
    profile: str = "default"
    address: str = ""
    txn: str = ""
    request_id: str = ""
    origin: Origin = "rest"
    job: JobPart | None = None
    trace: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes: what a request that is carried out later must know."""
        principal = self.principal
        return {
            "principal": {
                "id": principal.id,
                "name": principal.name,
                "kind": principal.kind,
                "scopes": sorted(principal.scopes),
                "credential": principal.credential,
                "user": principal.user,
                "own_only": principal.own_only,
            },
            "profile": self.profile,
            "address": self.address,
            "request_id": self.request_id,
            "trace": self.trace,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Context":
        """Return the context of an asynchronous request from what `as_json` returned."""
        principal = kept["principal"]
        return cls(
            Principal(**{**principal, "scopes": frozenset(principal["scopes"])}),
            kept["profile"],
            kept["address"],
            request_id=kept["request_id"],
            origin="async",
            # Release 0.2.0 and earlier knew no traces.
            trace=kept.get("trace", ""),
        )

    def reaching(self, owner: str | None) -> "Context":
        """Return the context of a change that a change of the client's brings to a resource of `owner`.

        If the client does not see that resource, the server makes the change.
        """
        own = self.principal.owner
        return self if own in (None, owner) else replace(self, origin="system")

    def new_id(self) -> str:
        """Return an id for a resource that this request creates: the same at each attempt at a job."""
        if self.job is None:
            return str(ordered_uuid())
        return self.job.request.get("resource_id") or str(uuid5(NAMESPACE_URL, self.txn))


def system(origin: Origin = "system") -> Context:
    """Return the context of what the server does by itself, or an operator at its command line."""
    return Context(Principal("system", "system", "system", SCOPES), origin=origin)
