"""Who gets which events: feeds that anybody may read, and receivers that they are pushed to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from set_delivery.events import Event
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
