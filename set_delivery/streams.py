"""Who gets which events: feeds that anybody may read, and receivers that they are pushed to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from set_delivery.events import EVENT_URIS, Event
from set_delivery.tokens import SigningKey

DEFAULT_FEED = "default"


@dataclass(frozen=True)
class Feed:
    """An event feed (RFC 9967 section 2.3) that receives every event."""

    id: str
    display_name: str


@dataclass(frozen=True)
class Receiver:
    """Where events are pushed to (RFC 8935).

    `feeds` and `event_uris` narrow down what it gets; empty, it gets everything. `audience` is the
    `aud` claim, `token` its bearer token.
    """

    name: str
    # It may hold a password.
    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    key: SigningKey | None = None
    mode: str = "notice"
    feeds: frozenset[str] = frozenset()
    event_uris: frozenset[str] = frozenset()
    audience: tuple[str, ...] = ()

    def wants(self, event: Event, feeds: Sequence[str]) -> bool:
        """Return whether it gets an event that is in `feeds`."""
        if self.feeds and self.feeds.isdisjoint(feeds):
            return False
        return not self.event_uris or event.uri(self.mode) in self.event_uris


@dataclass(frozen=True)
class Publishing:
    """How events leave.

    `feeds` receive everything; with `groups_are_feeds` there is one for each group as well, and
    with `membership_events` members that join or leave one are an event. `feed_size` is how many
    events a feed keeps, `retention_s` how many seconds any event is kept. `refused_after_s` is how
    many seconds a SET is tried again that a receiver refuses without a reason. `feed_url` is where
    feeds are, up to their id.
    """

    issuer: str
    audience: tuple[str, ...] = ()
    mode: str = "notice"
    key: SigningKey | None = None
    keys: tuple[SigningKey, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    feeds: tuple[Feed, ...] = (Feed(DEFAULT_FEED, "Default"),)
    groups_are_feeds: bool = True
    membership_events: bool = True
    poll: bool = False
    feed_size: int = 10_000
    retention_s: float = 30 * 86400.0
    refused_after_s: float = 86400.0
    timeout_s: float = 10.0
    feed_url: str = "/Events/Feeds/"
    ignored_attributes: frozenset[str] = frozenset()

    @property
    def is_on(self) -> bool:
        """Whether there is anybody who could receive an event."""
        return bool(self.receivers) or self.poll

    @property
    def needs_data(self) -> bool:
        """Whether anybody gets more than notices."""
        return self.mode == "full" or any(receiver.mode == "full" for receiver in self.receivers)

    def audience_of(
        self, event: Event, feeds: Sequence[str], configured: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        """Return the `aud` claim of an event.

        That is who is `configured`, for one receiver or else for all, and without that the feeds it is
        in. An event that somebody joined or left a feed names the feed in any case, behind the others.
        """
        chosen = configured or self.audience
        if chosen and not event.kind.startswith("urn:ietf:params:scim:event:feed:"):
            return chosen
        return tuple(dict.fromkeys((*chosen, *map(self.url_of, feeds))))

    def url_of(self, feed: str) -> str:
        """Return where a feed is."""
        return f"{self.feed_url}{quote(feed, safe='@:')}"


def receivers_from(described: Any) -> list[Mapping[str, Any]]:
    """Return the receivers that SET_RECEIVERS describes. Raises ValueError naming what is wrong."""
    if isinstance(described, dict):
        described = [described]
    if not isinstance(described, list):
        raise ValueError("must be a JSON list of objects")
    names: set[str] = set()
    for position, one in enumerate(described):
        if not isinstance(one, dict) or not isinstance(one.get("url"), str):
            raise ValueError(f"[{position}]: must be an object with a url")
        unknown = set(one) - _MEMBERS.keys()
        if unknown:
            raise ValueError(f"[{position}]: {sorted(unknown)[0]} is not a member of a receiver")
        for name, kind in _MEMBERS.items():
            if name in one and not isinstance(one[name], kind):
                raise ValueError(f"[{position}].{name}: must be a {'list' if kind is list else 'string'}")
        for name in ("feeds", "event_uris"):
            if not all(isinstance(value, str) for value in one.get(name, ())):
                raise ValueError(f"[{position}].{name}: must be a list of strings")
        for uri in one.get("event_uris", ()):
            if uri not in EVENT_URIS:
                raise ValueError(f"[{position}].event_uris: there is no event {uri}")
        for name in ("name", "secret", "key_file", "algorithm"):
            if one.get(name) == "":
                raise ValueError(f"[{position}].{name}: is empty")
        if "secret" in one and "key_file" in one:
            raise ValueError(f"[{position}]: has both a secret and a key_file")
        parts = urlsplit(one["url"])
        # Without what might be a password in it.
        one.setdefault("name", f"{parts.hostname or ''}{parts.path}")
        if len(one["name"]) > 200 or not one["name"].isprintable():
            raise ValueError(f"[{position}].name: must have 200 printable characters at most")
        if "algorithm" in one and "secret" not in one and "key_file" not in one:
            raise ValueError(f"[{position}].algorithm: needs a secret or a key_file")
        if one["name"] in names:
            raise ValueError(f"[{position}]: there are two receivers called {one['name']}")
        names.add(one["name"])
        if one.get("mode", "notice") not in ("notice", "full"):
            raise ValueError(f"[{position}].mode: must be notice or full")
    return described


_MEMBERS: Mapping[str, type] = {
    "name": str,
    "url": str,
    "token": str,
    "secret": str,
    "key_file": str,
    "algorithm": str,
    "feeds": list,
    "event_uris": list,
    "mode": str,
    "audience": str,
}


def feeds_from(described: Any) -> tuple[Feed, ...]:
    """Return the feeds that SET_FEEDS describes: ids or objects with `id` and `displayName`."""
    feeds: dict[str, Feed] = {}
    for one in described if isinstance(described, list) else [described]:
        feed_id = one.get("id") if isinstance(one, dict) else one
        if not isinstance(feed_id, str) or not feed_id or "/" in feed_id:
            raise ValueError("must be feed ids, or objects with an id")
        if len(feed_id) > 190 or feed_id in (".", "..") or not feed_id.isprintable():
            raise ValueError(f"{feed_id[:200]!r} cannot be a feed id")
        shown = one.get("displayName", feed_id) if isinstance(one, dict) else feed_id
        if not isinstance(shown, str):
            raise ValueError(f"{feed_id}: displayName must be a string")
        if feed_id in feeds:
            raise ValueError(f"there are two feeds called {feed_id}")
        feeds[feed_id] = Feed(feed_id, "Default" if feed_id == shown == DEFAULT_FEED else shown)
    if not feeds:
        raise ValueError("must name a feed")
    return tuple(feeds.values())
