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


class PatchOperationMessage(Schema):
    """One operation of a PATCH."""

    op = fields.String(required=True, metadata={"description": "add, remove or replace."})
    path = fields.String(metadata={"example": 'emails[type eq "work"].value'})
    value = fields.Raw(metadata={"description": "Any value that the attribute can have."})


class PatchMessage(Schema):
    """A PATCH request (RFC 7644 section 3.5.2)."""

    schemas = fields.List(fields.String(), required=True, metadata={"example": [urns.PATCH_OP]})
    Operations = fields.List(fields.Nested(PatchOperationMessage), required=True)


class BulkOperationMessage(Schema):
    """One operation of a Bulk request."""

    method = fields.String(required=True, metadata={"description": "POST, PUT, PATCH or DELETE."})
    bulkId = fields.String(metadata={"description": "Name of the new resource within this request."})
    path = fields.String(required=True, metadata={"description": "Such as /Users or /Users/bulkId:a."})
    version = fields.String(metadata={"description": "Entity-tag that the resource must have."})
    data = fields.Dict(metadata={"description": "Body of the operation."})


class BulkMessage(Schema):
    """A Bulk request (RFC 7644 section 3.7)."""

    schemas = fields.List(fields.String(), required=True, metadata={"example": [urns.BULK_REQUEST]})
    failOnErrors = fields.Integer(metadata={"description": "Stop after this many errors; 0: never."})
    Operations = fields.List(fields.Nested(BulkOperationMessage), required=True)


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
