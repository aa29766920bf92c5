"""The poll request of RFC 8936 section 2.2."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, fields

from app.protocol.messages import TextsField, load, one_message


class PollMessage(Schema):
    """A poll request (RFC 8936 section 2.2)."""

    class Meta:
        unknown = EXCLUDE

    maxEvents = fields.Integer(
        strict=True,
        metadata={"description": "Largest number of SETs; 0: none."},
        error_messages=one_message("must be an integer"),
    )
    returnImmediately = fields.Boolean(
        metadata={"description": "true: answer at once, even without a SET."},
        error_messages=one_message("must be true or false"),
    )
    ack = TextsField(metadata={"description": "The `jti` of each SET to acknowledge."})
    setErrs = fields.Dict(
        keys=fields.String(),
        metadata={"description": "`err` and `description` of refused SETs, by `jti`."},
        error_messages=one_message("must be an object"),
    )


_POLL: Final = PollMessage()


def read_poll_request(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a poll request asks for. Raises InvalidValue."""
    return load(_POLL, body)
