"""The poll request of RFC 8936 section 2.2."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.protocol.messages import TextsField, load, one_message


class _FlagField(fields.Boolean):
    """A boolean of JSON: no text and no number stands for it."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class _ErrorsField(fields.Dict):
    """The errors of SETs by their `jti` (RFC 8936 section 2.6)."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        # A body may hold very many values that do not fit: no error is made for each.
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        for error in value.values():
            if not isinstance(error, dict) or not isinstance(error.get("err"), str):
                raise ValidationError("each value must be an object with the string err")
            if not isinstance(error.get("description", ""), str):
                raise ValidationError("description must be a string")
        return value


class PollMessage(Schema):
    """A poll request (RFC 8936 section 2.2)."""

    class Meta:
        unknown = EXCLUDE

    maxEvents = fields.Integer(
        strict=True,
        metadata={"description": "Largest number of SETs; 0: none."},
        error_messages=one_message("must be an integer"),
    )
    returnImmediately = _FlagField(
        metadata={"description": "true: answer at once, even without a SET."},
        error_messages=one_message("must be true or false"),
    )
    ack = TextsField(metadata={"description": "The `jti` of each SET to acknowledge."})
    setErrs = _ErrorsField(
        keys=fields.String(),
        metadata={"description": "`err` and `description` of refused SETs, by `jti`."},
        error_messages=one_message("must be an object"),
    )


_POLL: Final = PollMessage()


def read_poll_request(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a poll request asks for. Raises InvalidValue."""
    return load(_POLL, body)
