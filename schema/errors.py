"""What a client did wrong, one class per scimType word (RFC 7644 table 9, RFC 9865 section 2.1)."""

from typing import ClassVar


class ScimError(Exception):
    """A request that cannot be honoured; `detail` is for the client and names what to change.

    The HTTP status belongs to the border and is not known here.
    """

    scim_type: ClassVar[str | None] = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidFilter(ScimError):
    """The filter, or that of a PATCH path, cannot be parsed or names something that does not fit."""

    scim_type = "invalidFilter"


class TooMany(ScimError):
    """The answer, or the request, holds more than the server is willing to process."""

    scim_type = "tooMany"


class Uniqueness(ScimError):
    """A value that must be unique is in use already."""

    scim_type = "uniqueness"


class Mutability(ScimError):
    """The change is not compatible with the mutability of the attribute."""

    scim_type = "mutability"


class InvalidSyntax(ScimError):
    """The body does not have the structure of the request it should be."""

    scim_type = "invalidSyntax"


class InvalidPath(ScimError):
    """The path of a PATCH operation cannot be parsed or names no attribute."""

    scim_type = "invalidPath"


class NoTarget(ScimError):
    """The path of a PATCH operation selects nothing that could be changed."""

    scim_type = "noTarget"


class InvalidValue(ScimError):
    """A required value is missing, or a value does not fit its attribute."""

    scim_type = "invalidValue"


class InvalidVersion(ScimError):
    """The SCIM protocol version is not supported."""

    scim_type = "invalidVers"


class Sensitive(ScimError):
    """The request carries sensitive data in the URI."""

    scim_type = "sensitive"


class InvalidCursor(ScimError):
    """The cursor was not made by this server for this query and this principal."""

    scim_type = "invalidCursor"


class ExpiredCursor(ScimError):
    """The cursor is older than the cursor time-out."""

    scim_type = "expiredCursor"


class InvalidCount(ScimError):
    """The count beside a cursor is no number of resources, or differs from that of the first page."""

    scim_type = "invalidCount"


class DefinitionError(Exception):
    """The schema definitions cannot be used; `problems` names every reason, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
