"""Event feeds, and the resources in each of them (RFC 9967)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.guard import current_context
from app.edge.messages import read_integer
from app.edge.responses import Response, document_response
from app.protocol.context import Context
from app.protocol.errors import Refusal
from app.protocol.representation import quoted
from app.protocol.resources import Resources
from app.wiring.delivery import Delivery
from schema import urns
from schema.resource_type import ResourceType
from set_delivery.streams import Feed
from storage.adapter import Selection, StoredResource
from storage.errors import ResourceNotFound


class Feeds:
    """All feeds: those of the settings, and one for each group."""

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
            groups, matching = self._resources.page(_reader(), resource_type, selection)
            for stored in groups:
                found.append(self._shown(stored.id, resource_type.display(stored.document) or stored.id))
            total += matching
        return total, found

    def find(self, feed_id: str) -> tuple[dict[str, Any], Iterator[str]]:
        """Return a feed and the relative URIs of the resources in it.

        Raises Refusal 404, and InsufficientScope for a client that may not read the resources.
        """
        # The members are read when the request is no longer at hand.
        context = current_context()
        found = self._found(feed_id)
        if isinstance(found, Feed):
            return self._shown(found.id, found.display_name), self._everything(context)
        resource_type, group = found
        shown = self._shown(group.id, resource_type.display(group.document) or group.id)
        return shown, self._members(context, resource_type, group)

    def _found(self, feed_id: str) -> Feed | tuple[ResourceType, StoredResource]:
        """Return the feed of the settings with this id, or else the group. Raises Refusal 404."""
        for feed in self._publishing.feeds:
            if feed.id == feed_id:
                return feed
        for resource_type in self._group_types if self._publishing.groups_are_feeds else ():
            try:
                return resource_type, self._resources.get(_reader(), resource_type, feed_id)
            except ResourceNotFound:
                continue
        raise Refusal(404, f"there is no feed {feed_id[:100]}")

    def check_readable(self, feed_id: str) -> None:
        """Return if the stream of a feed can be read, as that of a deleted group while it has SETs.

        Its reader has yet to learn of the deletion. Raises Refusal 404 for an unknown feed, 501
        without streams, and 403 for a reader from whom resources are hidden: a stream is about all.
        """
        if not self._publishing.poll:
            raise Refusal(501, "this server has no event streams: SET_POLL_ENABLED is not true")
        if not self._resources.sees_all(current_context()):
            raise Refusal(403, "the credentials do not give access to all resources, which a stream is about")
        try:
            self._found(feed_id)
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
        # Each scan is begun, and the client refused, before a byte of the answer leaves.
        location, types = self._resources.location, self._resources.registry.resource_types
        scans = [(one.name, self._resources.scan(context, one)) for one in types]
        return (location(context, name, stored.id) for name, scan in scans for stored in scan)

    def _members(
        self, context: Context, resource_type: ResourceType, group: StoredResource
    ) -> Iterator[str]:
        location, members = self._resources.location, self._resources.members(context, resource_type, group)
        return (location(context, one.resource_type, one.resource_id) for one in members)


def _reader() -> Context:
    """Return the context of this request, with which groups are looked up.

    The events of a feed are about its group: a client that may read them may know that the group is there.
    """
    context = current_context()
    principal = context.principal
    return replace(context, principal=replace(principal, scopes=principal.scopes | {"scim.read"}))


class Collection(MethodView):
    """All feeds."""

    init_every_request = False

    def __init__(self, feeds: Feeds, page_size: int) -> None:
        self._feeds = feeds
        self._page_size = page_size

    def get(self) -> Response:
        start = max(1, read_integer(request.args, "startIndex", 1))
        count = min(self._page_size, read_integer(request.args, "count", self._page_size))
        total, found = self._feeds.page(start - 1, max(0, count))
        return document_response(
            {
                "schemas": [urns.LIST_RESPONSE],
                "totalResults": total,
                "itemsPerPage": len(found),
                "startIndex": start,
                "Resources": found,
            }
        )


class Single(MethodView):
    """One feed."""

    init_every_request = False

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds

    def get(self, feed_id: str) -> Response:
        shown, members = self._feeds.find(feed_id)
        return Response(_with_members(shown, members))


def feeds_blueprint(feeds: Feeds, page_size: int) -> Blueprint:
    """Return the blueprint of /Events/Feeds; a list holds at most `page_size` feeds."""
    blueprint = Blueprint("Events", __name__, url_prefix="/Events/Feeds")
    blueprint.add_url_rule("", view_func=Collection.as_view("Collection", feeds, page_size))
    blueprint.add_url_rule("/<feed_id>", view_func=Single.as_view("Single", feeds))
    return blueprint


def _with_members(shown: Mapping[str, Any], members: Iterator[str]) -> Iterator[bytes]:
    """Yield a feed as JSON without ever holding all of its members."""
    yield orjson.dumps(shown)[:-1] + b',"members":['
    first = True
    for uri in members:
        yield (b"" if first else b",") + orjson.dumps(uri)
        first = False
    yield b"]}"
