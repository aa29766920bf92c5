"""Event feeds: what there are, who is in them, and reading them (RFC 9967, RFC 8936)."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from flask import Response, request
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.delivery import Delivery
from app.guard import current_context
from app.messages import BodyLimits, read_body, read_integer
from app.protocol.context import Context
from app.protocol.errors import Refusal
from app.protocol.representation import quoted
from app.protocol.resources import Resources
from app.responses import JSON, document_response, scim_response
from app.work.wakeups import FEEDS
from schema import urns
from schema.errors import InvalidValue
from schema.resource_type import ResourceType
from set_delivery.events import Set
from set_delivery.poll import OutOfWindow, Part
from set_delivery.streams import Publishing
from set_delivery.tokens import encode, published, unsecured
from storage.adapter import Selection, StoredResource
from storage.errors import ResourceNotFound

# A reader does not wait longer for SETs to be made: a change of a very large group makes very many.
_PUBLISH_S: Final = 1.0
_BODY_BYTES: Final = 4 * 1024 * 1024
# How many SETs one answer may hold.
_MOST_SETS: Final = 1000


class PollMessage(Schema):
    """A poll request (RFC 8936 section 2.2)."""

    maxEvents = fields.Integer(strict=True, metadata={"description": "Largest number of SETs; 0: none."})
    returnImmediately = fields.Boolean(metadata={"description": "true: answer at once, even without a SET."})
    ack = fields.List(fields.String(), metadata={"description": "The `jti` of each SET to acknowledge."})
    setErrs = fields.Dict(
        keys=fields.String(), metadata={"description": "`err` and `description` of refused SETs, by `jti`."}
    )


class Feeds:
    """The feeds there are: those of the settings, and one for each group."""

    def __init__(self, delivery: Delivery, resources: Resources) -> None:
        self._delivery = delivery
        self._publishing = delivery.publishing
        self._resources = resources
        self._group_types = [r for r in resources.registry.resource_types if r.members is not None]

    def page(self, start: int, count: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many feeds there are, and up to `count` of them from index `start`, from 0, on."""
        found = [self._shown(feed.id, feed.display_name) for feed in self._publishing.feeds]
        total = len(found)
        found = found[start : start + count]
        for resource_type in self._group_types if self._publishing.groups_are_feeds else ():
            selection = Selection(offset=max(0, start - total), limit=count - len(found))
            groups, matching = self._resources.page(current_context(), resource_type, selection)
            for stored in groups:
                found.append(self._shown(stored.id, resource_type.display(stored.document) or stored.id))
            total += matching
        return total, found

    def find(self, feed_id: str) -> tuple[dict[str, Any], Iterator[str]]:
        """Return a feed and the relative URIs of the resources in it. Raises Refusal 404."""
        # The members are read when the request is no longer at hand.
        context = current_context()
        feed = next((feed for feed in self._publishing.feeds if feed.id == feed_id), None)
        if feed is not None:
            return self._shown(feed.id, feed.display_name), self._everything(context)
        for resource_type in self._group_types if self._publishing.groups_are_feeds else ():
            try:
                stored = self._resources.get(context, resource_type, feed_id)
            except ResourceNotFound:
                continue
            shown = self._shown(stored.id, resource_type.display(stored.document) or stored.id)
            return shown, self._members(context, resource_type, stored)
        raise Refusal(404, f"there is no feed {feed_id[:100]}")

    def check_readable(self, feed_id: str) -> None:
        """Return if a feed can be read: that of a group which is gone as long as it holds anything.

        Its reader has yet to learn that. Raises Refusal 404, and 403 where resources are hidden
        from the reader: a stream tells of all resources.
        """
        if not self._resources.sees_all(current_context()):
            raise Refusal(403, "the credentials do not give access to all resources, which a stream is about")
        try:
            self.find(feed_id)
        except Refusal:
            if not self._publishing.groups_are_feeds:
                raise
            self._delivery.dispatcher.run(lambda: True)
            if not self._delivery.streams.holds_anything(feed_id):
                raise

    def _shown(self, feed_id: str, display_name: str) -> dict[str, Any]:
        relative = f"/Events/Feeds/{quoted(feed_id)}"
        return {
            "id": feed_id,
            "displayName": display_name,
            "uri": self._publishing.url_of(feed_id),
            "relativeUri": relative,
            "poll": {"supported": self._publishing.poll, "stream": f"{request.script_root}{relative}/Stream"},
        }

    def _everything(self, context: Context) -> Iterator[str]:
        for resource_type in self._resources.registry.resource_types:
            for stored in self._resources.scan(context, resource_type):
                yield self._resources.location(resource_type.name, stored.id)

    def _members(
        self, context: Context, resource_type: ResourceType, group: StoredResource
    ) -> Iterator[str]:
        for member in self._resources.members(context, resource_type, group):
            yield self._resources.location(member.resource_type, member.resource_id)


class Reading:
    """Reads streams; who waits for a SET takes one of `places`, for `wait_s` seconds."""

    def __init__(self, delivery: Delivery, wait_s: float, places: threading.Semaphore) -> None:
        self._delivery = delivery
        self._wait_s = wait_s
        self._places = places

    def after(self, feed: str, jti: str | None, limit: int) -> dict[str, Any]:
        """Return SETs as clients of HarryKodden/scim read them."""
        is_all = self._publish()
        try:
            part = self._delivery.streams.after(feed, jti, limit)
        except OutOfWindow as exc:
            raise Refusal(410, f"after: {exc}; read again without after") from exc
        sets = [self._claims(one) for one in part.sets]
        return {"feed": feed, "sets": sets, "moreAvailable": part.more_available or not is_all}

    def poll(self, feed: str, asked: Mapping[str, Any], most: int) -> dict[str, Any]:
        """Settle what the reader has, and return what it has not (RFC 8936 section 2.4)."""
        streams = self._delivery.streams
        if asked.get("ack"):
            streams.acknowledge(feed, asked["ack"])
        if asked.get("setErrs"):
            streams.refuse(feed, asked["setErrs"])
        limit = min(most, max(0, asked.get("maxEvents", most)))
        if limit == 0:
            return {"sets": {}, "moreAvailable": bool(streams.unacknowledged(feed, 1).sets)}

        def look() -> Part:
            is_all = self._publish()
            part = streams.unacknowledged(feed, limit)
            return part if is_all else replace(part, more_available=True)

        part = look()
        if not part.sets and not asked.get("returnImmediately", False):
            part = self._waited(look)
        sets = {one.jti: self._token(one) for one in part.sets}
        return {"sets": sets, "moreAvailable": part.more_available}

    def _publish(self) -> bool:
        """Make SETs of what was changed, for a moment, and return whether that was all of it."""
        dispatcher, until = self._delivery.dispatcher, time.monotonic() + _PUBLISH_S
        dispatcher.run(lambda: time.monotonic() >= until)
        return time.monotonic() < until or not dispatcher.is_due()

    def _waited(self, look: Callable[[], Part]) -> Part:
        # Who finds every place taken is answered at once: other requests need the threads.
        if not self._places.acquire(blocking=False):
            return look()
        try:
            part = Part([], False)
            for _ in self._delivery.wakeups.looks(FEEDS, self._wait_s):
                part = look()
                if part.sets:
                    break
            return part
        finally:
            self._places.release()

    def _claims(self, one: Set) -> dict[str, Any]:
        publishing = self._delivery.publishing
        audience = publishing.audience_of(one.event, one.feeds)
        return one.claims(publishing.issuer, audience, publishing.mode)

    def _token(self, one: Set) -> str:
        key = self._delivery.publishing.key
        claims = self._claims(one)
        return encode(claims, key)[0] if key is not None else unsecured(claims)


def feeds_blueprint(
    delivery: Delivery,
    resources: Resources,
    *,
    page_size: int,
    wait_s: float,
    max_depth: int,
    places: threading.Semaphore,
) -> Blueprint:
    """Return the blueprint of /Events/Feeds; `page_size` is the most feeds or SETs in an answer."""
    blueprint = Blueprint("Events", __name__, url_prefix="/Events/Feeds")
    feeds = Feeds(delivery, resources)
    reading = Reading(delivery, wait_s, places)
    limits = BodyLimits(_BODY_BYTES, max_depth)

    @blueprint.route("")
    class All(MethodView):
        init_every_request = False

        def get(self) -> Response:
            start = max(1, read_integer(request.args, "startIndex", 1))
            count = min(page_size, read_integer(request.args, "count", page_size))
            total, found = feeds.page(start - 1, max(0, count))
            return document_response(
                {
                    "schemas": [urns.LIST_RESPONSE],
                    "totalResults": total,
                    "itemsPerPage": len(found),
                    "startIndex": start,
                    "Resources": found,
                }
            )

    @blueprint.route("/<feed_id>")
    class Single(MethodView):
        init_every_request = False

        def get(self, feed_id: str) -> Response:
            shown, members = feeds.find(feed_id)
            return scim_response(_with_members(shown, members))

    @blueprint.route("/<feed_id>/Stream")
    class Stream(MethodView):
        init_every_request = False

        def get(self, feed_id: str) -> Response:
            _must_poll(delivery.publishing)
            feeds.check_readable(feed_id)
            limit = read_integer(request.args, "limit", page_size)
            if limit < 1:
                raise InvalidValue("limit: must be 1 or more")
            after = request.args.get("after") or None
            return document_response(reading.after(feed_id, after, min(limit, _MOST_SETS)))

        def post(self, feed_id: str) -> Response:
            _must_poll(delivery.publishing)
            feeds.check_readable(feed_id)
            asked = _read_poll(read_body(request, limits))
            answer = reading.poll(feed_id, asked, _MOST_SETS)
            return Response(orjson.dumps(answer), content_type=JSON)

    return blueprint


def keys_blueprint(publishing: Publishing) -> Blueprint:
    """Return the blueprint of the public keys (RFC 7517 section 5); they need no credentials."""
    blueprint = Blueprint("Keys", __name__)

    @blueprint.route("/.well-known/jwks.json")
    class Keys(MethodView):
        init_every_request = False

        def get(self) -> Response:
            own = [receiver.key for receiver in publishing.receivers if receiver.key is not None]
            keys = {key.key_id: key for key in (*publishing.keys, *own) if key.public is not None}
            body = orjson.dumps(published(list(keys.values())))
            return Response(body, content_type="application/jwk-set+json")

    return blueprint


def _must_poll(publishing: Publishing) -> None:
    if not publishing.poll:
        raise Refusal(501, "this server has no event streams: SET_POLL_ENABLED is not true")


def _read_poll(body: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        asked: Mapping[str, Any] = PollMessage(unknown=EXCLUDE).load(body)
    except ValidationError as exc:
        name, problem = next(iter(exc.messages_dict.items()))
        raise InvalidValue(f"{name}: {problem}") from None
    return asked


def _with_members(shown: Mapping[str, Any], members: Iterator[str]) -> Iterator[bytes]:
    """Yield a feed as JSON without ever holding all of its members."""
    yield orjson.dumps(shown)[:-1] + b',"members":['
    first = True
    for uri in members:
        yield (b"" if first else b",") + orjson.dumps(uri)
        first = False
    yield b"]}"
