"""Indexes of three characters each: FTS5 of SQLite, and pg_trgm of PostgreSQL.

The database keeps both: processes that know nothing of them, and earlier releases, write beside.
"""

import logging
import sqlite3
from typing import Any, Final

from storage.errors import StorageError, StorageUnavailable
from storage.index.database import Database, marks
from storage.index.parts import LEAST, PartsIndex
from storage.progress import Progress

_LOG = logging.getLogger(__name__)

# How many rows of scim_attribute one transaction looks at.
_BATCH: Final = 5000
_DOING: Final = "building the trigram index"

# Dates are not searched for parts. Of what was shortened, `long_value` is the whole; only texts have it.
_IS_TEXT: Final = (
    "(LENGTH({row}.value) <= 256 OR {row}.long_value IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM scim_path p "
    "WHERE p.number = {row}.path AND p.path IN ('meta.created', 'meta.lastModified'))"
)
# The tokenizer would stop at the character NUL: texts with one are found without it.
_NUL: Final = "INSTR(COALESCE(long_value, value), CHAR(0)) > 0"
_TOKENIZER: Final = "tokenize='trigram case_sensitive 1'"
_TABLES: Final = (
    "CREATE TABLE scim_text (number INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE, long_value TEXT)",
    f"CREATE INDEX scim_text_nul ON scim_text (number) WHERE {_NUL}",
    "CREATE VIRTUAL TABLE scim_trigram USING fts5(value, content='', columnsize=0, detail=none, "
    f"{_TOKENIZER})",
    # How far the values that were there before have come.
    "CREATE TABLE scim_trigram_built (path INTEGER NOT NULL, value TEXT NOT NULL, is_ready INTEGER NOT NULL)",
    "INSERT INTO scim_trigram_built (path, value, is_ready) VALUES (0, '', 0)",
)
_TRIGGERS: Final = {
    "scim_text_added": "AFTER INSERT ON scim_text BEGIN INSERT INTO scim_trigram (rowid, value) "
    "VALUES (NEW.number, COALESCE(NEW.long_value, NEW.value)); END",
    "scim_text_removed": "AFTER DELETE ON scim_text BEGIN "
    "INSERT INTO scim_trigram (scim_trigram, rowid, value) "
    "VALUES ('delete', OLD.number, COALESCE(OLD.long_value, OLD.value)); END",
    "scim_attribute_added": f"AFTER INSERT ON scim_attribute WHEN {_IS_TEXT.format(row='NEW')} "
    "BEGIN INSERT INTO scim_text (value, long_value) SELECT NEW.value, NEW.long_value "
    "WHERE NOT EXISTS (SELECT 1 FROM scim_text t WHERE t.value = NEW.value); END",
    # What nobody has any more must be gone: it may name a person.
    "scim_attribute_removed": "AFTER DELETE ON scim_attribute BEGIN DELETE FROM scim_text "
    "WHERE value = OLD.value AND NOT EXISTS (SELECT 1 FROM scim_path p CROSS JOIN scim_attribute a "
    "ON a.path = p.number AND a.value = OLD.value AND (LENGTH(a.value) <= 256 OR a.long_value IS NOT NULL)); "
    "END",
}
_MADE: Final = ("scim_text", "scim_trigram", "scim_trigram_built")


def check_fts5() -> None:
    """Raise ValueError unless SQLite has FTS5 with its tokenizer of trigrams."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"CREATE VIRTUAL TABLE trial USING fts5(value, {_TOKENIZER})")
    except sqlite3.Error as exc:
        version = f"SQLite {sqlite3.sqlite_version}"
        raise ValueError(
            f"FILTER_INDEX=trigram needs FTS5 with the tokenizer trigram, which this {version} lacks: {exc}"
        ) from exc
    finally:
        connection.close()


class SqliteTrigrams(PartsIndex):
    """A full-text index of the distinct values; triggers keep it."""

    def _is_ready(self, database: Database) -> bool:
        if not database.has_table("scim_trigram_built") or not self._is_kept(database):
            return False
        return bool(database.row("SELECT is_ready FROM scim_trigram_built")[0])

    @staticmethod
    def _is_kept(database: Database) -> bool:
        names = tuple(_TRIGGERS)
        statement = f"SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger' AND name IN ({marks(names)})"
        return bool(database.row(statement, names)[0] == len(names))

    def prepare(self, database: Database) -> None:
        if self._is_ready(database):
            return
        with database.transaction():
            self._make(database)
        (total,) = database.row("SELECT COUNT(*) FROM scim_attribute")
        progress = Progress(_DOING, int(total))
        while count := self._add_batch(database):
            progress.at(progress.done + count)
        if progress.done:
            _LOG.warning("%s, done", _DOING)

    def _make(self, database: Database) -> None:
        """Make the tables and triggers; new values are in the index from then on."""
        if database.has_table("scim_trigram_built") and self._is_kept(database):
            return
        # A change of scim_attribute may have ended triggers: nobody knows what was written since.
        for name in _TRIGGERS:
            database.run_ddl(f"DROP TRIGGER IF EXISTS {name}")
        for name in _MADE:
            database.run_ddl(f"DROP TABLE IF EXISTS {name}")
        for statement in _TABLES:
            database.run_ddl(statement)
        for name, text in _TRIGGERS.items():
            database.run_ddl(f"CREATE TRIGGER {name} {text}")

    @staticmethod
    def _add_batch(database: Database) -> int:
        """Add values that were there before, and return how many rows had them; 0 when there are no more."""
        with database.transaction():
            last: Any = database.row("SELECT path, value, is_ready FROM scim_trigram_built")
            if last[2]:
                return 0
            rows = database.rows(
                "SELECT path, value FROM scim_attribute WHERE (path, value) > (?, ?) "
                f"ORDER BY path, value LIMIT {_BATCH}",
                last[:2],
            )
            if not rows:
                database.run("UPDATE scim_trigram_built SET is_ready = 1")
                return 0
            database.run(
                "INSERT OR IGNORE INTO scim_text (value, long_value) SELECT a.value, a.long_value "
                "FROM scim_attribute a WHERE (a.path, a.value) > (?, ?) AND (a.path, a.value) <= (?, ?) "
                f"AND {_IS_TEXT.format(row='a')}",
                (*last[:2], *rows[-1]),
            )
            database.run("UPDATE scim_trigram_built SET path = ?, value = ?", rows[-1])
        return len(rows)

    def condition(self, operator: str, key: str) -> tuple[str, tuple[object, ...]]:
        starts = dict.fromkeys([*range(0, len(key) - LEAST + 1, LEAST), len(key) - LEAST])
        parts = (key[start : start + LEAST].replace('"', '""') for start in starts)
        values = (
            "SELECT t.value FROM scim_text t WHERE t.number IN (SELECT rowid FROM scim_trigram "
            f"WHERE scim_trigram MATCH ? UNION ALL SELECT number FROM scim_text WHERE {_NUL})"
        )
        return f"a.value IN ({values})", (" ".join(f'"{part}"' for part in parts),)


class PostgresqlTrigrams(PartsIndex):
    """A GIN index of the module pg_trgm."""

    _name: Final = "scim_attribute_trigram"

    def _is_ready(self, database: Database) -> bool:
        statement = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(?) AND indisvalid"
        return database.row(statement, (self._name,)) is not None

    def prepare(self, database: Database) -> None:
        if not self._is_ready(database):
            database.prepare(lambda: self._make(database))

    def _make(self, database: Database) -> None:
        if self._is_ready(database):
            return
        _LOG.warning("%s; changes wait until it is there", _DOING)
        database.run_ddl(
            f"CREATE INDEX {self._name} ON scim_attribute USING gin "
            f"((COALESCE(long_value, value)) {_schema_of_pg_trgm(database)}.gin_trgm_ops)"
        )
        database.run_ddl("ANALYZE scim_attribute")
        _LOG.warning("%s, done", _DOING)

    def condition(self, operator: str, key: str) -> tuple[str, tuple[object, ...]]:
        for special in "\\%_":
            key = key.replace(special, f"\\{special}")
        return "COALESCE(a.long_value, a.value) LIKE ?", (f"%{key}{'%' if operator == 'co' else ''}",)


def _schema_of_pg_trgm(database: Database) -> str:
    """Return the schema of the module, which is installed where the role may do so."""
    found = "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
    found += "WHERE e.extname = 'pg_trgm'"
    row = database.row(found)
    if row is None:
        try:
            database.run_ddl("CREATE EXTENSION pg_trgm")
        except StorageError as exc:
            raise StorageUnavailable(
                "FILTER_INDEX=trigram needs the module pg_trgm of PostgreSQL; an administrator of the "
                f"database installs it with `CREATE EXTENSION pg_trgm`: {exc}"
            ) from exc
        row = database.row(found)
    return str(row[0])
