"""Building the side tables from documents that are there already: of others, or of older rules.

Every step is one transaction that notes how far it came, so that it goes on where it was stopped,
and several processes that start together share the work.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from schema.values import format_date_time
from storage.adapter import Key, StoredResource
from storage.batches import BATCH, batches
from storage.foreign import ForeignDocument, ForeignReader, adopted
from storage.sql.database import Database, marks
from storage.sql.inserts import RESOURCE
from storage.sql.layout import IndexRow, TypeLayout
from storage.sql.members import MemberRows
from storage.sql.pages import resource_columns, stored
from storage.sql.rows import ResourceRows, narrow

_LOG = logging.getLogger(__name__)

# Seconds between lines of the log that say how far it is.
_REPORT_S = 5.0


def finish_tables(database: Database, layouts: Sequence[TypeLayout]) -> None:
    """Take over documents that nobody has indexed yet, and index again what is not ready."""
    names = {layout.number: layout.resource_type.name for layout in layouts}
    done = 0
    for work in (_Resources, _Members, _Paths):
        for layout in layouts:
            step = work(database, layout, names)
            done += _repeat(step, f"{layout.resource_type.name}: {step.doing}")
    if done and database.dialect.count_values:
        database.run_ddl(database.dialect.count_values)


def _repeat(step: "_Step", title: str) -> int:
    done, reported = 0, time.monotonic()
    while (count := step.once()) is not None:
        done += count
        if time.monotonic() - reported > _REPORT_S:
            _LOG.warning("%s: %d so far", title, done)
            reported = time.monotonic()
    if done:
        _LOG.warning("%s: %d, done", title, done)
    return done


class _Step:
    """A part of the work on one type; `once` does a batch and returns its size, None at the end."""

    doing = ""

    def __init__(self, database: Database, layout: TypeLayout, names: dict[int, str]) -> None:
        self._database = database
        self._layout = layout
        self._rows = ResourceRows(database)
        self._members = MemberRows(database, names)
        self._reader = ForeignReader(layout.resource_type)

    def once(self) -> int | None:
        database = self._database
        if not self._pending(database.row):
            return None
        with database.transaction():
            # One at a time: the row says how far the work has come.
            database.row(
                f"SELECT 1 FROM scim_type WHERE number = ?{database.dialect.for_update}",
                (self._layout.number,),
            )
            if not self._pending(database.row):
                return None
            return self._batch()

    def _pending(self, row: Callable[..., Any]) -> bool:
        raise NotImplementedError

    def _batch(self) -> int:
        raise NotImplementedError

    def _note(self, **columns: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._database.run(
            f"UPDATE scim_type SET {assignments} WHERE number = ?", (*columns.values(), self._layout.number)
        )

    def _adopting(self, row: Callable[..., Any]) -> tuple[str | None, str]:
        found: tuple[str | None, str] = row(
            "SELECT adopting, adopted_to FROM scim_type WHERE number = ?", (self._layout.number,)
        )
        return found

    def _insert_rows(self, index: Mapping[int, set[IndexRow]], ids: Mapping[int, str]) -> None:
        """Write the index rows of each row key, and claim the unique values in them.

        The log names a resource whose value another one has; the resource keeps its other rows.
        """
        unique = {rid: self._layout.unique_rows(rows) for rid, rows in index.items()}
        claims = sorted((path, value, rid) for rid, rows in unique.items() for path, value in rows)
        for batch in batches(claims):
            values = ", ".join(["(?, ?, ?)"] * len(batch))
            statement = self._database.dialect.insert_ignoring(
                "scim_unique", "path, value, rid", f"VALUES {values}"
            )
            cells = [cell for row in batch for cell in row]
            if self._database.run(statement, cells).rowcount < len(batch):
                self._report_duplicates(batch, ids)
        self._rows.insert_index_rows((rid, row) for rid, rows in index.items() for row in rows)

    def _report_duplicates(self, rows: list[tuple[int, str, int]], ids: Mapping[int, str]) -> None:
        for path, value, rid in rows:
            (owner,) = self._database.row(
                "SELECT rid FROM scim_unique WHERE path = ? AND value = ?", (path, value)
            )
            if owner != rid:
                _LOG.warning(
                    "%s %s: another resource has the same %s",
                    self._layout.resource_type.name,
                    ids[rid],
                    self._layout.unique_path(path),
                )


class _Resources(_Step):
    """Documents that HarryKodden/scim left behind: a row each in scim_resource."""

    doing = "adopting documents"

    def _pending(self, row: Callable[..., Any]) -> bool:
        return self._adopting(row)[0] == "resources"

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        last = self._adopting(database.row)[1] or ""
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
        try:
            document = orjson.loads(text)
            # What is nested too deeply can be read, but not be written again.
            orjson.dumps(document)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            document = None
        name = self._layout.resource_type.name
        if not isinstance(document, dict):
            _LOG.warning("%s %s: is not adopted, because it is not a JSON object", name, resource_id)
            return None
        found = self._reader.read(document)
        for problem in found.problems:
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
                # Who they are is known when every type has been read.
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
            [
                (layout.number, r.id, 1, r.created, r.last_modified, *narrow(layout, r), twins.get(r.id, 0))
                for r in resources
            ],
        )
        rids = self._rows.rids(layout, list(found))
        index = {rids[r.id]: layout.index_rows(r) for r in resources}
        self._insert_rows(index, {rid: resource_id for resource_id, rid in rids.items()})
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


class _Members(_Step):
    """Members that stand in the documents: a row each in scim_member."""

    doing = "adopting members"

    def _pending(self, row: Callable[..., Any]) -> bool:
        return self._adopting(row)[0] == "members"

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        last = self._adopting(database.row)[1] or ""
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
            # Without a type where an earlier release has read the document.
            members = {(one.get("type", ""), one["value"]): one["display"] for one in elements}
            self._join(resource_id, rid, members)
            database.run(
                f"UPDATE {layout.table} SET details = ? WHERE id = ?",
                (orjson.dumps(document).decode(), resource_id),
            )
        self._note(adopted_to=resource_id)
        return 1

    def _join(self, resource_id: str, rid: int, members: Mapping[Key, str | None]) -> None:
        found = self._members.find([member_id for _, member_id in members])
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
        self._members.change(rid, adopted(members, found), ())


class _Paths(_Step):
    """Paths whose rows are missing, because they are new or follow other rules now."""

    doing = "building index rows"

    def _pending(self, row: Callable[..., Any]) -> bool:
        (unready,) = row(
            "SELECT COUNT(*) FROM scim_path WHERE type = ? AND ready = 0", (self._layout.number,)
        )
        return bool(unready)

    def _batch(self) -> int:
        database, layout = self._database, self._layout
        (last,) = database.row("SELECT indexed_to FROM scim_type WHERE number = ?", (layout.number,))
        rows = database.rows(
            f"{resource_columns(database.dialect.text)} FROM scim_resource r "
            f"JOIN {layout.table} d ON d.id = r.id WHERE r.type = ? AND r.rid > ? ORDER BY r.rid LIMIT ?",
            (layout.number, last or 0, BATCH),
        )
        if not rows:
            database.run("UPDATE scim_path SET ready = 1 WHERE type = ?", (layout.number,))
            self._note(indexed_to=None)
            return 0
        wanted = {
            number
            for (number,) in database.rows(
                "SELECT number FROM scim_path WHERE type = ? AND ready = 0", (layout.number,)
            )
        }
        resources = [stored(row) for row in rows]
        index = {r.source: {row for row in layout.index_rows(r) if row[0] in wanted} for r in resources}
        self._insert_rows(index, {r.source: r.id for r in resources})
        self._note(indexed_to=rows[-1][0])
        return len(rows)
