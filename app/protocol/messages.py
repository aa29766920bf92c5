"""What PatchOp, BulkRequest and SearchRequest have in common (RFC 7644 section 3.1)."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.protocol.tolerance import Profile
from schema.errors import InvalidSyntax


def read_message(
    body: Mapping[str, Any], urn: str, names: Iterable[str], profile: Profile
) -> dict[str, Any]:
    """Return what a message holds under `names`, which clients may write in any case.

    Raises InvalidSyntax for the message of another schema, and by the letter for one without schema
    or with anything else in it.
    """
    message = read_names(body, ("schemas", *names), profile)
    _check_schema(message.pop("schemas", None), urn, profile)
    return message


def read_names(
    raw: Mapping[str, Any], names: Iterable[str], profile: Profile, place: str = ""
) -> dict[str, Any]:
    """Return what an object holds under `names`; InvalidSyntax names another key, by the letter."""
    canonical = {name.lower(): name for name in names}
    found = {}
    for key, value in raw.items():
        name = canonical.get(key.lower())
        if name is not None:
            found[name] = value
        elif not profile.loose_messages:
            raise InvalidSyntax(f"{place}{key[:100]}: is not an attribute of this message")
    return found


def _check_schema(schemas: Any, urn: str, profile: Profile) -> None:
    if isinstance(schemas, list) and urn.lower() in {str(one).lower() for one in schemas}:
        return
    if profile.loose_messages:
        given = [one for one in (schemas if isinstance(schemas, list) else [schemas]) if one]
        name = urn.rpartition(":")[2].lower()
        # Nobody sends another message here: one that is called alike is meant.
        if not given or any(str(one).lower().rpartition(":")[2] == name for one in given):
            return
    raise InvalidSyntax(f"schemas: must contain {urn}")
