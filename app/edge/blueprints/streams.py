"""Reading an event feed: by polling (RFC 8936), and as clients of HarryKodden/scim do."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from flask import request
from flask.views import MethodView
from flask_smorest import Blueprint

from app.edge.blueprints.feeds import Feeds
from app.edge.messages import BodyLimits, read_body, read_integer
from app.edge.responses import JSON, Response, document_response
from app.edge.waiting import Wait, Waiting
from app.protocol.errors import Refusal
from app.protocol.poll_message import read_poll_request
from app.wiring.delivery import Delivery
from app.work.wakeups import FEEDS
from schema.errors import InvalidValue
from set_delivery.events import Set
from set_delivery.poll import OutOfWindow, Part
from set_delivery.tokens import UNSECURED, encoded

# A reader does not wait longer for SETs to be made: a change of a very large group makes very many.
_PUBLISH_S: Final = 1.0
_BODY_BYTES: Final = 4 * 1024 * 1024
# How many SETs one answer may hold.
_MOST_SETS: Final = 1000


class Reading:
    """Reads streams; `waiting` lets a request wait for a SET, for up to `wait_s` seconds."""

    def __init__(self, delivery: Delivery, wait_s: float, waiting: Waiting) -> None:
        self._delivery = delivery
        self._wait_s = wait_s
        self._waiting = waiting

    def after(self, feed: str, jti: str | None, limit: int) -> dict[str, Any]:
        """Return SETs as clients of HarryKodden/scim read them."""
        is_all = self._publish()
        try:
            part = self._delivery.streams.after(feed, jti, limit)
        except OutOfWindow as exc:
            raise Refusal(410, f"after: {exc}; read again without after") from exc
        sets = [self._claims(one) for one in part.sets]
        return {"feed": feed, "sets": sets, "moreAvailable": part.more_available or not is_all}

    def poll(self, feed: str, asked: Mapping[str, Any], most: int) -> Response:
        """Settle what the reader has, and answer with what it has not (RFC 8936 section 2.4)."""
        streams = self._delivery.streams
        if asked.get("ack"):
            streams.acknowledge(feed, asked["ack"])
        if asked.get("setErrs"):
            streams.refuse(feed, asked["setErrs"])
        limit = min(most, max(0, asked.get("maxEvents", most)))
        if limit == 0:
            return self._shown(Part([], bool(streams.unacknowledged(feed, 1).sets)))

        def look(is_last: bool) -> Response | None:
            is_all = self._publish()
            part = streams.unacknowledged(feed, limit)
            if not (part.sets or is_last):
                return None
            return self._shown(part if is_all else replace(part, more_available=True))

        wait = Wait(FEEDS, self._wait_s, look)
        if asked.get("returnImmediately", False):
            return wait.last()
        return look(False) or self._waiting.answer(wait)

    def _shown(self, part: Part) -> Response:
        tokens = encoded(part.sets, self._claims, self._delivery.publishing.key or UNSECURED)
        sets = {one.jti: token for one, (token, _) in zip(part.sets, tokens, strict=True)}
        answer = {"sets": sets, "moreAvailable": part.more_available}
        return Response(orjson.dumps(answer), content_type=JSON)

    def _publish(self) -> bool:
        """Make SETs of what was changed, for a moment, and return whether that was all of it."""
        dispatcher, until = self._delivery.dispatcher, time.monotonic() + _PUBLISH_S
        dispatcher.run(lambda: time.monotonic() >= until)
        return time.monotonic() < until or not dispatcher.is_due()

    def _claims(self, one: Set) -> dict[str, Any]:
        publishing = self._delivery.publishing
        audience = publishing.audience_of(one.event, one.feeds)
        return one.claims(publishing.issuer, audience, publishing.mode)


class Stream(MethodView):
    """The SETs of one feed."""

    init_every_request = False

    def __init__(self, feeds: Feeds, reading: Reading, page_size: int, limits: BodyLimits) -> None:
        self._feeds = feeds
        self._reading = reading
        self._page_size = page_size
        self._limits = limits

    def get(self, feed_id: str) -> Response:
        self._feeds.check_readable(feed_id)
        limit = read_integer(request.args, "limit", self._page_size)
        if limit < 1:
            raise InvalidValue("limit: must be 1 or more")
        after = request.args.get("after") or None
        return document_response(self._reading.after(feed_id, after, min(limit, _MOST_SETS)))

    def post(self, feed_id: str) -> Response:
        self._feeds.check_readable(feed_id)
        asked = read_poll_request(read_body(request, self._limits))
        return self._reading.poll(feed_id, asked, _MOST_SETS)


def streams_blueprint(feeds: Feeds, reading: Reading, *, page_size: int, max_depth: int) -> Blueprint:
    """Return the blueprint of the streams of `feeds`.

    A GET without `limit` is answered with at most `page_size` SETs. The JSON of a request is at
    most `max_depth` levels deep.
    """
    blueprint = Blueprint("Streams", __name__, url_prefix="/Events/Feeds")
    view = Stream.as_view("Stream", feeds, reading, page_size, BodyLimits(_BODY_BYTES, max_depth))
    blueprint.add_url_rule("/<feed_id>/Stream", view_func=view)
    return blueprint
