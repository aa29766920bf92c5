"""A process of a release up to 0.2.0 on the tables of resources."""

from typing import Any

import orjson

from schema.resource_type import ResourceType
from storage.index.layout import IndexRow, TypeLayout
from storage.index_paths import entry_paths
from storage.sql.opening import open_database
from storage.testing import USER, stored
from storage.testing.resources import NOW
from tests.storage.other_settings import TITLE


class OldProcess:
    """The tables of resources as processes of releases up to 0.2.0 write them: their statements.

    It starts when it is made: it knows the paths of that moment, and its own rules.
    """

    def __init__(self, url: str, user: ResourceType = USER, indexed: frozenset[str] | None = TITLE) -> None:
        self._database = open_database(url, 1)
        row = self._database.row("SELECT number, documents FROM scim_type WHERE name = 'User'")
        self._table = self._database.dialect.quoted(row[1])
        paths = self._database.rows("SELECT path, number FROM scim_path WHERE type = ?", (row[0],))
        numbers = dict(paths)
        chosen = {text: numbers[text] for text in entry_paths(user, indexed)}
        self._layout = TypeLayout(user, row[0], self._table, chosen)

    def create(self, resource_id: str, **document: Any) -> None:
        resource, run = stored(resource_id, **document), self._database.run
        with self._database.transaction():
            run(
                "INSERT INTO scim_resource (type, id, version, created, last_modified, display, secrets) "
                "VALUES (?, ?, 1, ?, ?, NULL, NULL)",
                (self._layout.number, resource_id, NOW, NOW),
            )
            rid = self._rid(resource_id)
            run(f"INSERT INTO {self._table} (id, details) VALUES (?, ?)", (resource_id, resource.text))
            self._change(rid, set(), self._layout.index_rows(resource))

    def replace(self, resource_id: str, **document: Any) -> None:
        after, run = stored(resource_id, **document), self._database.run
        with self._database.transaction():
            before = self._stored(resource_id)
            rid = self._rid(resource_id)
            run(
                "UPDATE scim_resource SET version = version + 1, last_modified = ? WHERE rid = ?", (NOW, rid)
            )
            run(f"UPDATE {self._table} SET details = ? WHERE id = ?", (after.text, resource_id))
            self._change(rid, self._layout.index_rows(before), self._layout.index_rows(after))

    def delete(self, resource_id: str) -> None:
        with self._database.transaction():
            rid = self._rid(resource_id)
            self._change(rid, self._layout.index_rows(self._stored(resource_id)), set())
            self._database.run("DELETE FROM scim_member WHERE member_rid = ?", (rid,))
            self._database.run("DELETE FROM scim_resource WHERE rid = ?", (rid,))
            self._database.run(f"DELETE FROM {self._table} WHERE id = ?", (resource_id,))
            # As scim_count does in each of them.
            self._database.count(self._layout.number, -1)

    def close(self) -> None:
        self._database.close()

    def _rid(self, resource_id: str) -> int:
        return int(self._database.row("SELECT rid FROM scim_resource WHERE id = ?", (resource_id,))[0])

    def _stored(self, resource_id: str) -> Any:
        details = self._database.row(f"SELECT details FROM {self._table} WHERE id = ?", (resource_id,))[0]
        document = details if isinstance(details, dict) else orjson.loads(details)
        del document["schemas"], document["id"]
        return stored(resource_id, **document)

    def _change(self, rid: int, old: set[IndexRow], new: set[IndexRow]) -> None:
        run, layout = self._database.run, self._layout
        for path, value, _ in sorted(layout.unique_rows(old) - layout.unique_rows(new)):
            run("DELETE FROM scim_unique WHERE path = ? AND value = ? AND rid = ?", (path, value, rid))
        for path, value, _ in sorted(layout.unique_rows(new) - layout.unique_rows(old)):
            run("INSERT INTO scim_unique (path, value, rid) VALUES (?, ?, ?)", (path, value, rid))
        for path, value, element, _ in sorted(old - new, key=lambda row: row[:3]):
            run(
                "DELETE FROM scim_attribute WHERE path = ? AND value = ? AND rid = ? AND element = ?",
                (path, value, rid, element),
            )
        for path, value, element, long in sorted(new - old, key=lambda row: row[:3]):
            run(
                "INSERT INTO scim_attribute (path, value, rid, element, long_value) VALUES (?, ?, ?, ?, ?)",
                (path, value, rid, element, long),
            )
