"""From the texts of SET_RECEIVERS and SET_FEEDS to the receivers and feeds that they describe."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate
from marshmallow.exceptions import SCHEMA

from app.configuration.types import http_url, json_value
from app.protocol.messages import TextField, TextsField, first_problem, one_message
from set_delivery.events import EVENT_URIS
from set_delivery.streams import DEFAULT_FEED, Feed

_NAME_LENGTH: Final = 200
_ID_LENGTH: Final = 190
_FILLED: Final = validate.Length(min=1, error="is empty")


def _check_url(url: str) -> None:
    try:
        http_url(url)
    except ValueError as exc:
        raise ValidationError(str(exc)) from None


class ReceiverSchema(Schema):
    """A receiver, as SET_RECEIVERS describes it; without a name, its URL names it."""

    class Meta:
        unknown = EXCLUDE

    error_messages = {"type": "must be an object with a url"}

    name = TextField(validate=_FILLED)
    url = TextField(required=True, validate=_check_url)
    token = TextField()
    secret = TextField(validate=_FILLED)
    key_file = TextField(validate=_FILLED)
    algorithm = TextField(validate=_FILLED)
    feeds = TextsField()
    event_uris = fields.List(
        TextField(validate=validate.OneOf(EVENT_URIS, error="there is no event {input}")),
        error_messages=one_message("must be a list of strings"),
    )
    mode = TextField(validate=validate.OneOf(("notice", "full"), error="must be notice or full"))
    audience = TextField()

    @post_load(pass_original=True)
    def _completed(
        self, receiver: dict[str, Any], described: Mapping[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        unknown = sorted(described.keys() - self.fields.keys())
        if unknown:
            raise ValidationError(f"{unknown[0]} is not a member of a receiver")
        if "secret" in receiver and "key_file" in receiver:
            raise ValidationError("has both a secret and a key_file")
        if "algorithm" in receiver and receiver.keys().isdisjoint(("secret", "key_file")):
            raise ValidationError("needs a secret or a key_file", "algorithm")
        parts = urlsplit(receiver["url"])
        # The URL may hold a password before its host.
        name = receiver.setdefault("name", f"{parts.hostname or ''}{parts.path}")
        if len(name) > _NAME_LENGTH or not name.isprintable():
            raise ValidationError(f"must have {_NAME_LENGTH} printable characters at most", "name")
        return receiver


def _check_feed_id(text: str) -> None:
    usable = text not in ("", ".", "..") and "/" not in text and text.isprintable()
    if not usable or len(text) > _ID_LENGTH:
        raise ValidationError(f"{text[:200]!r} cannot be a feed id")


class FeedSchema(Schema):
    """A feed, as SET_FEEDS describes it: an id, or an object."""

    class Meta:
        unknown = EXCLUDE

    error_messages = {"type": "must be a feed id, or an object with an id"}

    id = TextField(required=True, validate=_check_feed_id)
    displayName = TextField()

    @pre_load
    def _object(self, described: Any, **kwargs: Any) -> Any:
        return {"id": described} if isinstance(described, str) else described

    @post_load
    def _feed(self, described: dict[str, str], **kwargs: Any) -> Feed:
        feed_id = described["id"]
        name = described.get("displayName", feed_id)
        return Feed(feed_id, "Default" if feed_id == name == DEFAULT_FEED else name)


def receivers(value: str) -> list[Any]:
    """a JSON list of objects, each with a `url`"""
    described = json_value(value)
    if not isinstance(described, list | dict):
        raise ValueError("must be a JSON list of objects")
    found = _read(ReceiverSchema(), described)
    _check_unique("receivers", [receiver["name"] for receiver in found])
    return found


def feeds(value: str) -> tuple[Feed, ...]:
    """ids separated by commas, or a JSON list of objects with `id` and `displayName`"""
    is_json = value.lstrip().startswith(("[", "{"))
    ids = [part.strip() for part in value.split(",") if part.strip()]
    found = _read(FeedSchema(), json_value(value) if is_json else ids)
    if not found:
        raise ValueError("must name a feed")
    _check_unique("feeds", [feed.id for feed in found])
    return tuple(found)


def _read(schema: Schema, described: Any) -> list[Any]:
    """Return what a schema reads in each element of a list. Raises ValueError, which tells the position."""
    found = []
    for position, one in enumerate(described if isinstance(described, list) else [described]):
        try:
            found.append(schema.load(one))
        except ValidationError as exc:
            path, problem = first_problem(exc)
            names = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in path if key != SCHEMA]
            raise ValueError(f"[{position}]{''.join(names)}: {problem}") from None
    return found


def _check_unique(kind: str, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"there are two {kind} called {name}")
