"""Events and the claims of the SETs that carry them (RFC 9967 section 2, RFC 8417 section 2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_PREFIX: Final = "urn:ietf:params:scim:event"
CREATE: Final = f"{_PREFIX}:prov:create"
PUT: Final = f"{_PREFIX}:prov:put"
PATCH: Final = f"{_PREFIX}:prov:patch"
DELETE: Final = f"{_PREFIX}:prov:delete"
ACTIVATE: Final = f"{_PREFIX}:prov:activate"
DEACTIVATE: Final = f"{_PREFIX}:prov:deactivate"
FEED_ADD: Final = f"{_PREFIX}:feed:add"
FEED_REMOVE: Final = f"{_PREFIX}:feed:remove"
ASYNC_RESPONSE: Final = f"{_PREFIX}:misc:asyncresp"

# The kinds of event that say what they are about in one of two ways.
_MODAL: Final = (CREATE, PUT, PATCH)
MODES: Final = ("notice", "full")
EVENT_URIS: Final = frozenset(
    {
        *(f"{kind}:{mode}" for kind in _MODAL for mode in MODES),
        *(DELETE, ACTIVATE, DEACTIVATE, FEED_ADD, FEED_REMOVE, ASYNC_RESPONSE),
    }
)


@dataclass(frozen=True)
class Subject:
    """The resource an event is about (RFC 9967 section 2.1); `uri` is relative to the base."""

    uri: str
    resource_id: str | None = None
    external_id: str | None = None

    def as_json(self) -> list[str | None]:
        """Return the arguments of the constructor."""
        return [self.uri, self.resource_id, self.external_id]

    def claim(self) -> dict[str, str]:
        """Return the `sub_id` claim (RFC 9493)."""
        claim = {"format": "scim", "uri": self.uri}
        if self.external_id:
            claim["externalId"] = self.external_id
        if self.resource_id:
            claim["id"] = self.resource_id
        return claim


@dataclass(frozen=True)
class Event:
    """One event, before anybody is chosen to receive it.

    `attributes` are the paths that a notice lists; `data` is what `full` carries, None where that
    would be too large: then a notice goes out in its place. `payload` is that of the other kinds. The
    payload of a completion may have a `response`, which is the whole resource or a SCIM error: a notice
    carries the error only.
    """

    kind: str
    subject: Subject
    version: str | None = None
    attributes: Sequence[str] = ()
    data: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)

    def uri(self, mode: str) -> str:
        """Return the event URI under a mode."""
        if self.kind not in _MODAL:
            return self.kind
        return f"{self.kind}:{mode if self.data is not None else 'notice'}"

    def events_claim(self, mode: str) -> dict[str, Any]:
        """Return the `events` claim under a mode."""
        payload = dict(self.payload)
        if self.kind in _MODAL:
            if self.version is not None:
                payload["version"] = self.version
            if mode == "full" and self.data is not None:
                payload["data"] = self.data
            else:
                payload["attributes"] = list(self.attributes)
        elif self.kind == ASYNC_RESPONSE and mode != "full" and int(payload["status"]) < 400:
            payload.pop("response", None)
        return {self.uri(mode): payload}

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {
            "kind": self.kind,
            "subject": self.subject.as_json(),
            "version": self.version,
            "attributes": list(self.attributes),
            "data": self.data,
            "payload": dict(self.payload),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Event":
        """Return the event that `as_json` described."""
        return cls(
            kept["kind"],
            Subject(*kept["subject"]),
            kept["version"],
            kept["attributes"],
            kept["data"],
            kept["payload"],
        )


@dataclass(frozen=True)
class FeedMembership:
    """One member that joined a feed, or left it."""

    subject: Subject
    joined: bool


@dataclass(frozen=True)
class ChangeEvents:
    """What one write did: its events, and which feeds they belong to beside those of everybody.

    `feeds` are feeds of groups. `memberships` are what changed in `feed`, the feed of the group
    that was written; they become an event each when nobody is waiting any more.
    """

    txn: str
    events: Sequence[Event]
    feeds: Sequence[str] = ()
    feed: str | None = None
    memberships: Sequence[FeedMembership] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {
            "txn": self.txn,
            "events": [event.as_json() for event in self.events],
            "feeds": list(self.feeds),
            "feed": self.feed,
            "members": [
                [m.joined, m.subject.uri, m.subject.resource_id, m.subject.external_id]
                for m in self.memberships
            ],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "ChangeEvents":
        """Return the change that `as_json` described."""
        return cls(
            kept["txn"],
            [Event.from_json(event) for event in kept["events"]],
            kept["feeds"],
            kept["feed"],
            [FeedMembership(Subject(*subject), joined) for joined, *subject in kept["members"]],
        )

    def feed_events(self) -> Iterator[Event]:
        """Yield the events of the members that joined the group's feed, or left it."""
        for membership in self.memberships:
            yield Event(FEED_ADD if membership.joined else FEED_REMOVE, membership.subject)


@dataclass(frozen=True)
class Set:
    """An event with what makes a SET of it; `made_at` is in milliseconds since 1970."""

    position: int
    jti: str
    txn: str
    made_at: int
    event: Event
    feeds: Sequence[str] = ()

    def claims(self, issuer: str, audience: Sequence[str], mode: str) -> dict[str, Any]:
        """Return the claims set (RFC 8417 section 2.2); there is never a `sub`."""
        claims: dict[str, Any] = {
            "iss": issuer,
            "iat": self.made_at // 1000,
            "jti": self.jti,
            "txn": self.txn,
        }
        if audience:
            claims["aud"] = list(audience) if len(audience) > 1 else audience[0]
        return {**claims, "sub_id": self.event.subject.claim(), "events": self.event.events_claim(mode)}
