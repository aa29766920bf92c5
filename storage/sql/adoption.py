"""Adopting tables of other programs: their documents get the rows that resources have."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson

from schema.values import format_date_time
from storage.adapter import Key, StoredResource
from storage.batches import BATCH, batches
from storage.foreign import ForeignDocument, ForeignReader, adopted
from storage.index.building import Step
from storage.index.columns import resource_row
from storage.index.database import Database, marks
from storage.index.layout import RESOURCE, TypeLayout
from storage.index.members import MemberRows
from storage.survey import parsed

_LOG = logging.getLogger(__name__)


class _Adoption(Step):
    """A step on documents that are not adopted yet; `scim_type` records the next part."""

    def _total(self) -> int:
        return self._count(f"SELECT COUNT(*) FROM {self._layout.table}")

    def _adopting(self) -> tuple[str | None, str]:
        found: tuple[str | None, str] = self._database.row(
            "SELECT adopting, adopted_to FROM scim_type WHERE number = ?", (self._layout.number,)
        )
        return found


class _Resources(_Adoption):
    """Documents that HarryKodden/scim left behind: a row each in scim_resource."""

    doing = "adopting"

    def __init__(self, database: Database, layout: TypeLayout, names: Mapping[int, str]) -> None:
        super().__init__(database, layout, names)
        self._reader = ForeignReader(layout.resource_type)

    def _pending(self) -> bool:
        return self._adopting()[0] == "resources"

    def _done(self) -> int:
        return self._count(
            "SELECT COALESCE(SUM(total), 0) FROM scim_count WHERE type = ?", self._layout.number
        )

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        last = self._adopting()[1] or ""
        rows = database.rows(
            f"SELECT d.id, {database.dialect.text} FROM {layout.table} d "
            "WHERE d.id > ? ORDER BY d.id LIMIT ?",
            (last, BATCH),
        )
        if not rows:
            has_members = layout.resource_type.members is not None
            self._note(adopting="members" if has_members else None, adopted_to="")
            return 0
        found = {row[0]: self._read(row[0], row[1]) for row in rows}
        self._write({resource_id: one for resource_id, one in found.items() if one is not None})
        self._note(adopted_to=rows[-1][0])
        return len(rows)

    def _read(self, resource_id: str, text: str) -> ForeignDocument | None:
        document = parsed(text)
        name = self._layout.resource_type.name
        if not isinstance(document, dict):
            _LOG.warning("%s %s: is not adopted, because it is not a JSON object", name, resource_id)
            return None
        found = self._reader.read(document)
        for problem in (*found.problems, *self._reader.missing(found)):
            _LOG.warning("%s %s: %s", name, resource_id, problem)
        return found

    def _write(self, found: dict[str, ForeignDocument]) -> None:
        database, layout = self._database, self._layout
        now = format_date_time(datetime.now(UTC))
        resources = []
        for resource_id, one in found.items():
            text = orjson.dumps({**one.resource, "id": resource_id}).decode()
            resources.append(
                StoredResource(
                    resource_id, text, created=one.created or now, last_modified=one.last_modified or now
                )
            )
            kept = one.resource
            if one.members and layout.resource_type.members is not None:
                # The members are looked up when the documents of every type have rows.
                elements = [
                    {"value": member_id, "type": type_name, "display": display}
                    for (type_name, member_id), display in one.members.items()
                ]
                kept = {**kept, layout.resource_type.members.name: elements}
            document = {"schemas": kept["schemas"], "id": resource_id, **kept}
            database.run(
                f"UPDATE {layout.table} SET details = ? WHERE id = ?",
                (orjson.dumps(document).decode(), resource_id),
            )
        twins = self._twins(list(found))
        database.dialect.insert_rows(
            database,
            "scim_resource",
            RESOURCE,
            [resource_row(layout, one, "1", twins.get(one.id, 0)) for one in resources],
        )
        rids = self._rows.rids(layout, list(found))
        # Rows of other paths, where other rules have begun meanwhile, are made at the end for all resources.
        self._insert_rows({rids[one.id]: one for one in resources}, ready=True)
        database.count(layout.number, len(resources))

    def _twins(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the number of the type by each id that resources of other types have as well."""
        layout = self._layout
        twins: dict[str, int] = {}
        for batch in batches(ids):
            rows = self._database.rows(f"SELECT id FROM scim_resource WHERE id IN ({marks(batch)})", batch)
            twins |= {resource_id: layout.number for (resource_id,) in rows}
        for resource_id in twins:
            _LOG.warning(
                "%s %s: a resource of another type has the same id; both are stored",
                layout.resource_type.name,
                resource_id,
            )
        return twins


class _Members(_Adoption):
    """Members that stand in the documents: a row each in scim_member."""

    doing = "adopting members of"

    def _pending(self) -> bool:
        return self._adopting()[0] == "members"

    def _done(self) -> int:
        last = self._adopting()[1] or ""
        return self._count(f"SELECT COUNT(*) FROM {self._layout.table} WHERE id <= ?", last)

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        last = self._adopting()[1] or ""
        # One group at a time: it may be large.
        row = database.row(
            f"SELECT d.id, {database.dialect.text}, r.rid FROM {layout.table} d "
            "JOIN scim_resource r ON r.id = d.id AND +r.type = ? WHERE d.id > ? ORDER BY d.id LIMIT 1",
            (layout.number, last),
        )
        if row is None:
            self._note(adopting=None, adopted_to=None)
            return 0
        resource_id, text, rid = row
        document = orjson.loads(text)
        name = layout.resource_type.members.name if layout.resource_type.members else ""
        elements = document.pop(name, None)
        if elements:
            # An earlier release has read the document without the type of members.
            members = {(one.get("type", ""), one["value"]): one["display"] for one in elements}
            self._join(resource_id, rid, members)
            database.run(
                f"UPDATE {layout.table} SET details = ? WHERE id = ?",
                (orjson.dumps(document).decode(), resource_id),
            )
        self._note(adopted_to=resource_id)
        return 1

    def _join(self, resource_id: str, rid: int, members: Mapping[Key, str | None]) -> None:
        rows = MemberRows(self._database, self._names)
        found = rows.find([member_id for _, member_id in members])
        known = {one.resource_id for one in found}
        missing = [member_id for _, member_id in members if member_id not in known]
        if missing:
            _LOG.warning(
                "%s %s: %d members do not exist and are left out, such as %s",
                self._layout.resource_type.name,
                resource_id,
                len(missing),
                missing[0],
            )
        rows.change(rid, adopted(members, found), ())


STEPS: Final = (_Resources, _Members)
