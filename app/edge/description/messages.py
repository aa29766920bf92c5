"""The SCIM messages that the API description shows and no code reads (RFC 7644 section 3)."""

from typing import Any, Final

from marshmallow import Schema, fields

from schema import urns


class ErrorMessage(Schema):
    """A SCIM error (RFC 7644 section 3.12)."""

    schemas = fields.List(fields.String(), metadata={"example": [urns.ERROR]})
    status = fields.String(metadata={"example": "404"})
    scimType = fields.String(metadata={"description": "Keyword, with status 400, 409 or 413."})
    detail = fields.String()


LIST_MEMBERS: Final[dict[str, Any]] = {
    "schemas": fields.List(fields.String(), metadata={"example": [urns.LIST_RESPONSE]}),
    "totalResults": fields.Integer(metadata={"description": "Number of resources on all pages."}),
    "itemsPerPage": fields.Integer(metadata={"description": "Number of resources on this page."}),
    "startIndex": fields.Integer(metadata={"description": "Index of the first resource, from 1."}),
    "nextCursor": fields.String(metadata={"description": "Cursor of the next page, if any."}),
    "previousCursor": fields.String(metadata={"description": "Cursor of the previous page, if any."}),
}


class PollAnswer(Schema):
    """The answer to a poll (RFC 8936 section 2.3)."""

    sets = fields.Dict(keys=fields.String(), values=fields.String())
    moreAvailable = fields.Boolean()


class FeedMessage(Schema):
    """An event feed."""

    id = fields.String()
    displayName = fields.String()
    uri = fields.String(metadata={"description": "URI of the feed: the `aud` claim of its SETs."})
    relativeUri = fields.String()
    members = fields.List(fields.String(), metadata={"description": "URIs of the resources in the feed."})
    poll = fields.Dict(metadata={"description": "Whether readers can poll the feed, and at which URI."})


class FeedList(Schema):
    """A list of feeds."""

    schemas = fields.List(fields.String(), metadata={"example": [urns.LIST_RESPONSE]})
    totalResults = fields.Integer()
    itemsPerPage = fields.Integer()
    startIndex = fields.Integer()
    Resources = fields.List(fields.Nested(FeedMessage))
