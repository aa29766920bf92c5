"""Importing: many resources at once, one JSON object a line, as `scim import` reads them.

A line is a resource as a client would send it, or as this server returns it: with an `id` it keeps
that id and the dates in `meta`, so that data can move here from elsewhere and be referred to.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from app.protocol.context import Context
from app.protocol.documents import read_object
from app.protocol.errors import Refusal, detail_of
from app.protocol.import_commit import ImportCommit
from app.protocol.mapping import ADDRESSABLE
from app.protocol.profiles import profile_of
from app.protocol.references import Named, NamedMember
from app.protocol.resources import Resources
from app.protocol.write import NewResource
from schema.errors import InvalidValue, ScimError
from schema.resource_type import ResourceType
from schema.values import comparison_key, format_date_time, parse_date_time
from scim_filter.nodes import BoundComparison
from storage.adapter import Key, Selection, StoredResource
from storage.errors import (
    ResourceNotFound,
    StorageError,
    StorageUnavailable,
    UniquenessConflict,
)

# How many resources are written together: one wait for the disk serves them all.
_BATCH: Final = 20000


@dataclass
class ImportResult:
    """How many resources were created, and how many were left alone because they exist."""

    created: int = 0
    skipped: int = 0
    failed: int = 0


class ResourceImport:
    """Imports lines, for `context`; no events tell of what it makes.

    `report` is called with the number of a line, from 1, and what is wrong with it.
    """

    def __init__(
        self,
        resources: Resources,
        commit: ImportCommit,
        context: Context,
        report: Callable[[int, str], None],
        *,
        max_depth: int = 100,
    ) -> None:
        registry = resources.registry
        self._resources = resources
        self._commit = commit
        self._context = context
        self._report = report
        self._max_depth = max_depth
        self._types = {r.schema.id.lower(): r for r in registry.resource_types}
        for alias, urn in profile_of(context.profile).resources.schema_aliases.items():
            if urn is not None and urn.lower() in self._types:
                self._types[alias] = self._types[urn.lower()]
        self._result = ImportResult()
        # What waits to be written, by type and number of the line.
        self._pending: dict[str, dict[int, NewResource]] = {r.name: {} for r in registry.resource_types}
        # Where the backend chooses the ids: type and id of the lines, and what became of the id.
        self._ids: dict[Key, str] = {}
        # Lines without an id, by type: those resources are found by their names.
        self._unnamed: dict[str, set[int]] = {r.name: set() for r in registry.resource_types}
        # Those that were made now, of types whose names are not unique, and the types that had none.
        self._made: set[Key] = set()
        self._was_empty: dict[str, bool] = {}
        # Members that did not exist yet when their group was written.
        self._waiting: list[tuple[int, ResourceType, str, Named]] = []

    def run(self, lines: Iterable[bytes]) -> ImportResult:
        """Import every line that can be imported and return how many.

        What was written stays when the import is interrupted; done again, it goes on from there.
        Members may be named before they come; members that never come are reported.
        """
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                resource_type, new, has_id = self._read(line)
            except (ScimError, Refusal) as problem:
                self._fail(number, problem)
                continue
            pending = self._pending[resource_type.name]
            pending[number] = new
            if not has_id or self._commit.assigns_ids:
                self._unnamed[resource_type.name].add(number)
            if len(pending) >= _BATCH:
                self._write(resource_type)
        for resource_type in self._resources.registry.resource_types:
            self._write(resource_type)
        for number, resource_type, group_id, members in self._waiting:
            for member_id in self._join(resource_type, group_id, members):
                self._report(number, f"members: there is no resource with the id {member_id}")
        return self._result

    def _read(self, line: bytes) -> tuple[ResourceType, NewResource, bool]:
        """Return what a line holds, and whether it has an id of its own."""
        body = read_object(line, self._max_depth, "the line")
        schemas = body.get("schemas")
        meta: Any = body.get("meta") if isinstance(body.get("meta"), dict) else {}
        names = [str(urn).lower() for urn in schemas] if isinstance(schemas, list) else []
        resource_type = next((self._types[name] for name in names if name in self._types), None)
        resource_type = resource_type or self._resources.registry.resource_type(str(meta.get("resourceType")))
        if resource_type is None:
            raise InvalidValue("schemas: contains no core schema of this server")
        resource_id = body.get("id")
        if resource_id is not None and (
            not isinstance(resource_id, str) or ADDRESSABLE.fullmatch(resource_id) is None
        ):
            raise InvalidValue("id: cannot be used as an id in URLs")
        new, has_id = self._resources.new(self._context, resource_type, body, resource_id)
        created, modified = _date(meta.get("created")), _date(meta.get("lastModified"))
        if created or modified:
            dated = replace(
                new.resource,
                created=created or modified or new.resource.created,
                last_modified=modified or created or new.resource.last_modified,
            )
            new = NewResource(dated, new.members)
        return resource_type, new, has_id

    def _write(self, resource_type: ResourceType) -> None:
        lines = self._pending[resource_type.name]
        self._pending[resource_type.name] = {}
        known = self._resources.find(self._context, [new.resource.id for new in lines.values()])
        # One of another type is in the way, and no reason to leave the line out.
        there = {one.resource_id for one in known if one.resource_type == resource_type.name}
        fresh = {number: new for number, new in lines.items() if new.resource.id not in there}
        unnamed = self._unnamed[resource_type.name] & fresh.keys()
        self._unnamed[resource_type.name] = set()
        for number in set() if self._has_none_before(resource_type) else unnamed:
            found = self._found(resource_type, fresh[number].resource)
            if found is not None:
                self._ids[resource_type.name, fresh.pop(number).resource.id] = found
        for number in lines.keys() - fresh.keys():
            self._leave_alone(resource_type, number, lines[number])
        if self._commit.assigns_ids:
            self._create_each(resource_type, fresh, unnamed)
            return
        try:
            create = partial(self._commit.create_many, self._context, resource_type)
            self._create(resource_type, fresh, create)
        except UniquenessConflict:
            # One by one, the one that is in the way is the only one to fail.
            self._create_each(resource_type, fresh, unnamed)

    def _has_none_before(self, resource_type: ResourceType) -> bool:
        if resource_type.name not in self._was_empty:
            _, total = self._resources.page(self._context, resource_type, Selection(limit=1))
            self._was_empty[resource_type.name] = total == 0
        return self._was_empty[resource_type.name]

    def _found(self, resource_type: ResourceType, resource: StoredResource) -> str | None:
        """Return the id of the resource that was there before under the name of this one, or None.

        The name is the first unique attribute; where externalId is the only one and is absent, it is
        displayName, which resources of one import may share.
        """
        paths = [path for path in resource_type.unique_paths if path.text != "externalId"]
        for path in (*paths, resource_type.path("externalId"), resource_type.path("displayName")):
            values = path.values(resource.document) if path is not None else []
            if path is None or not values or not isinstance(values[0], str) or values[0] == "":
                continue
            node = BoundComparison(path, "eq", values[0], comparison_key(path.leaf, values[0]))
            found, _ = self._resources.page(self._context, resource_type, Selection(node))
            ids = (one.id for one in found if (resource_type.name, one.id) not in self._made)
            return next(ids, None)
        return None

    def _create_each(
        self, resource_type: ResourceType, lines: Mapping[int, NewResource], unnamed: Set[int]
    ) -> None:
        made: set[str] = set()
        for number, new in lines.items():
            made_id = new.resource.id
            try:
                self._create(resource_type, {number: new}, partial(self._create_one, resource_type))
                made.add(self._real_id(resource_type, made_id))
            except StorageUnavailable:
                raise
            except UniquenessConflict as problem:
                # Another import may have made it meanwhile.
                found = self._appeared(resource_type, new.resource, number in unnamed)
                if found is None or found in made:
                    self._fail(number, problem)
                    continue
                self._ids[resource_type.name, made_id] = found
                self._leave_alone(resource_type, number, new)
            except StorageError as problem:
                self._fail(number, problem)

    def _appeared(
        self, resource_type: ResourceType, resource: StoredResource, is_unnamed: bool
    ) -> str | None:
        if is_unnamed:
            return self._found(resource_type, resource)
        there = self._resources.find(self._context, [resource.id])
        return resource.id if any(one.resource_type == resource_type.name for one in there) else None

    def _leave_alone(self, resource_type: ResourceType, number: int, new: NewResource) -> None:
        """Count a resource that is there; where an import died before its members joined, they do now."""
        self._result.skipped += 1
        if new.members and self._is_as_made(resource_type, new.resource):
            self._take_members(resource_type, number, new)

    def _is_as_made(self, resource_type: ResourceType, new: StoredResource) -> bool:
        """Return whether what is there is what a line makes, and nobody has changed it since."""
        try:
            kept = self._resources.get(self._context, resource_type, self._real_id(resource_type, new.id))
        except ResourceNotFound:
            return False
        dates = (kept.created, kept.last_modified)
        is_unchanged = dates == (new.created, new.last_modified) or kept.created == kept.last_modified
        is_unchanged = is_unchanged and not kept.read_only
        names = new.document.keys() - {"id"}
        return is_unchanged and all(kept.document.get(name) == new.document[name] for name in names)

    def _remember(self, resource_type: ResourceType, ids: Sequence[str]) -> None:
        if {path.text for path in resource_type.unique_paths} <= {"externalId"}:
            self._made.update((resource_type.name, resource_id) for resource_id in ids)

    def _real_id(self, resource_type: ResourceType, line_id: str) -> str:
        """Return the id of the resource of a line."""
        return self._ids.get((resource_type.name, line_id), line_id)

    def _create_one(self, resource_type: ResourceType, resources: Sequence[StoredResource]) -> None:
        (resource,) = resources
        created = self._commit.create_one(self._context, resource_type, resource)
        self._remember(resource_type, [created.id])
        if created.id != resource.id:
            self._ids[resource_type.name, resource.id] = created.id

    def _create(
        self,
        resource_type: ResourceType,
        lines: Mapping[int, NewResource],
        create: Callable[[Sequence[StoredResource]], None],
    ) -> None:
        resources = [new.resource for new in lines.values()]
        create(resources)
        self._result.created += len(resources)
        self._remember(resource_type, [resource.id for resource in resources])
        for number, new in lines.items():
            if new.members:
                self._take_members(resource_type, number, new)

    def _take_members(self, resource_type: ResourceType, number: int, new: NewResource) -> None:
        """Make those members that exist; the others wait for the end."""
        missing = self._join(resource_type, new.resource.id, new.members)
        if missing:
            left = {i: new.members[i] for i in missing}
            self._waiting.append((number, resource_type, new.resource.id, left))

    def _join(self, resource_type: ResourceType, group_id: str, members: Named) -> list[str]:
        """Make `members` members of a group and return those that do not exist."""
        missing: list[str] = []
        group_id = self._real_id(resource_type, group_id)
        ids = list(members)
        for start in range(0, len(ids), _BATCH):
            named, lines = dict[str, list[NamedMember]](), dict[str, str]()
            for line_id, one in ((i, one) for i in ids[start : start + _BATCH] for one in members[i]):
                real_id = self._member_id(line_id, one)
                named.setdefault(real_id, []).append(one)
                lines[real_id] = line_id
            find = partial(self._resources.named, self._context, resource_type, named)
            unknown = self._commit.add_members(self._context, resource_type, group_id, find)
            missing += [lines[real_id] for real_id in unknown]
        return list(dict.fromkeys(missing))

    def _member_id(self, line_id: str, named: NamedMember) -> str:
        """Return the id of the resource that a line names as a member by the id of a line."""
        named_types = (r for r in self._resources.registry.resource_types if named.may_be(r.name))
        keys = ((resource_type.name, line_id) for resource_type in named_types)
        return next((self._ids[key] for key in keys if key in self._ids), line_id)

    def _fail(self, number: int, problem: Exception) -> None:
        self._result.failed += 1
        self._report(number, detail_of(problem))


def _date(value: Any) -> str | None:
    try:
        return format_date_time(parse_date_time(value)) if isinstance(value, str) else None
    except ValueError as exc:
        raise InvalidValue(f"meta: {value[:40]} is not a dateTime") from exc
