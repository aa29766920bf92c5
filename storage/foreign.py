"""Documents that other programs wrote: read as far as they go, and said what does not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schema.errors import ScimError
from schema.leniency import Leniency
from schema.required import lacking
from schema.resource_type import ResourceType
from schema.validation import compile_attribute_validator
from schema.values import format_date_time, parse_date_time
from storage.adapter import Key, Member

UNUSUAL: Final = (
    "the %s %s is new and empty, but the %s %s has documents, which are not served: the earlier product "
    "ignored USER_MODEL_NAME and GROUP_MODEL_NAME in capitals; unset them, before clients write, to serve "
    "these documents"
)
"""the warning for documents under the usual name, where the settings have another: what, name, what, name"""

# Deeper than this, orjson cannot write what the value is shown in.
_DEEPEST = 200
_COMPUTED = ("id", "schemas", "meta")


@dataclass
class ForeignDocument:
    """What was found in a document: its canonical resource, its members, and its dates.

    `members` maps type and id to what is shown of each, or None; the type is empty where the document
    names none that a member can have. `problems` has a line for each value that could not be kept.
    """

    resource: dict[str, Any]
    members: dict[Key, str | None] = field(default_factory=dict)
    created: str = ""
    last_modified: str = ""
    problems: list[str] = field(default_factory=list)


class ForeignReader:
    """Reads documents of one resource type.

    Names may be in any case, null is nothing, attributes that the schemas do not have stay as they
    are, values that do not fit their attribute are left out, and so is what must never be returned:
    it would be readable.
    """

    def __init__(self, resource_type: ResourceType) -> None:
        self._type = resource_type
        leniency = Leniency(unknown_attributes=True, unknown_values=True, of_clients=False)
        attributes = [*resource_type.attributes, *(e.attribute for e in resource_type.extensions)]
        self._readers = {
            attribute.name.lower(): (attribute, compile_attribute_validator(attribute, leniency))
            for attribute in attributes
        }
        self._secret = {path.text for path in resource_type.secret_paths}
        reference = resource_type.members.sub_attribute("$ref") if resource_type.members else None
        self._member_types = {name.lower(): name for name in reference.reference_types} if reference else {}

    def read(self, document: Mapping[str, Any]) -> ForeignDocument:
        """Return what `document` holds; it is not changed."""
        found = ForeignDocument({})
        for key, value in document.items():
            self._read_attribute(key, value, found)
        core = self._type.schema.id
        present = [e.schema.id for e in self._type.extensions if e.schema.id in found.resource]
        found.resource = {"schemas": [core, *present], **found.resource}
        self._read_dates(document.get("meta"), found)
        return found

    def missing(self, found: ForeignDocument) -> list[str]:
        """Return a line for each required attribute that a document has no value of: it is adopted so."""
        resource, core = found.resource, self._type.schema.attributes
        names = list(lacking(core, resource, self._type.members))
        for extension in self._type.extensions:
            urn = extension.schema.id
            if urn in resource:
                names += [f"{urn}:{name}" for name in lacking(extension.schema.attributes, resource[urn])]
            elif extension.required:
                names.append(urn)
        return [f"{name}: is required and has no value" for name in names]

    @staticmethod
    def _read_dates(meta: Any, found: ForeignDocument) -> None:
        """Add the dates in `meta`, as far as they are some."""
        if not isinstance(meta, Mapping):
            if meta is not None:
                found.problems.append("meta: must be an object")
            return
        dates = {name: meta.get(name) for name in ("created", "lastModified")}
        instants = {name: instant_of(value) for name, value in dates.items()}
        for name, value in dates.items():
            if value is not None and not instants[name]:
                found.problems.append(f"meta.{name}: must be a dateTime such as 2011-05-13T04:42:34Z")
        found.last_modified = instants["lastModified"]
        found.created = instants["created"] or found.last_modified

    def _read_attribute(self, key: str, value: Any, found: ForeignDocument) -> None:
        entry = self._readers.get(key.lower())
        if value is None or key.lower() in _COMPUTED or value in ([], {}):
            return
        if not is_shallow(value):
            found.problems.append(f"{key}: is nested deeper than {_DEEPEST} levels")
            return
        if entry is None:
            found.resource[key] = value
            return
        attribute, read = entry
        if attribute == self._type.memberships:
            return
        if attribute == self._type.members:
            found.members = self._members(value)
            return
        if attribute.name in self._secret:
            found.problems.append(f"{attribute.name}: is ignored: it cannot be stored in readable form")
            return
        try:
            kept = read(value, attribute.name)
        except ScimError as problem:
            found.problems.append(problem.detail)
            return
        if kept is not None:
            found.resource[attribute.name] = kept

    def _members(self, value: Any) -> dict[Key, str | None]:
        members: dict[Key, str | None] = {}
        for one in value if isinstance(value, list) else [value]:
            element = one if isinstance(one, Mapping) else {"value": one}
            member_id, display = element.get("value"), element.get("display")
            if isinstance(member_id, str) and member_id:
                type_name = self._member_types.get(str(element.get("type")).lower(), "")
                members[type_name, member_id] = display if isinstance(display, str) and display else None
        # Without a type, it is the one that is named with its type.
        typed = {member_id for type_name, member_id in members if type_name}
        return {key: shown for key, shown in members.items() if key[0] or key[1] not in typed}


def existing(members: Iterable[Key], found: Sequence[Member]) -> dict[Key, Member]:
    """Return those of `ForeignDocument.members` that are among the resources found for their ids.

    Without a type, the first one is meant that has the id.
    """
    known: dict[Key, Member] = {}
    for one in found:
        known[one.key] = one
        known.setdefault(("", one.resource_id), one)
    return {key: known[key] for key in members if key in known}


def adopted(members: Mapping[Key, str | None], found: Sequence[Member]) -> list[Member]:
    """Return, of the resources found for the ids of a document, those that become its members for good.

    Programs that do not check a type may have written a wrong one: the id counts where there is no such
    resource.
    """
    there = existing(members, found)
    by_id = existing([("", member_id) for _, member_id in members], found)
    joining = {one.key: replace(one, display=members[key] or one.display) for key, one in there.items()}
    for key, display in members.items():
        one = by_id.get(("", key[1]))
        if one is not None and key not in there:
            joining.setdefault(one.key, replace(one, display=display or one.display))
    return list(joining.values())


def is_shallow(value: Any) -> bool:
    """Return whether a value is nested so little that it can be shown within others."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level for inner in _inner(one)]
        if not level:
            return True
    return False


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def instant_of(value: Any) -> str:
    """Return a dateTime as it is stored; without a zone it is taken for UTC. Empty if it is none."""
    if not isinstance(value, str):
        return ""
    try:
        return format_date_time(parse_date_time(value.replace(" ", "T", 1)))
    except ValueError:
        return ""
