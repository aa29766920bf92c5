"""The tables of other programs that the next start would take over: looked at, and left as they are."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from schema.resource_type import ResourceType
from storage.adapter import Adoptable
from storage.batches import BATCH
from storage.index.database import Database
from storage.index.numbering import check_columns
from storage.index.tables import supported_version_of
from storage.survey import Survey, parsed


def survey_tables(
    database: Database, resource_types: Sequence[ResourceType], tables: Mapping[str, str]
) -> Iterator[Adoptable]:
    """Yield each document that `adoption` would take over, as it is at one instant.

    `tables` maps names of resource types to names of tables. Raises StorageUnavailable for a table of
    another form, and for tables of a later version.
    """
    if database.dialect.name == "sqlite" and not Path(database.name).exists():
        return
    with database.snapshot():
        supported_version_of(database)
        there: dict[ResourceType, str] = {}
        ids: dict[str, str] = {}
        for resource_type in resource_types:
            table = tables.get(resource_type.name, resource_type.endpoint.strip("/"))
            columns = database.columns(table)
            if columns:
                check_columns(table, columns)
                there[resource_type] = database.dialect.quoted(table)
                for resource_id, text in _documents(database, there[resource_type]):
                    if isinstance(parsed(text), dict):
                        ids.setdefault(resource_id, resource_type.name)
        survey = Survey(ids)
        for resource_type, quoted in there.items():
            adopted = _adopted(database, resource_type)
            if adopted is None:
                continue
            for resource_id, text in _documents(database, quoted):
                # Also of one that is adopted: others may have its values.
                judged = survey.judge(resource_type, resource_id, parsed(text))
                if resource_id not in adopted:
                    yield judged


def _documents(database: Database, table: str) -> Iterator[tuple[str, str]]:
    """Yield the id and the text of each document, in the order in which they are adopted."""
    last = ""
    while rows := database.rows(
        f"SELECT d.id, {database.dialect.text} FROM {table} d WHERE d.id > ? ORDER BY d.id LIMIT ?",
        (last, BATCH),
    ):
        yield from rows
        last = rows[-1][0]


def _adopted(database: Database, resource_type: ResourceType) -> set[str] | None:
    """Return the ids of documents that have been adopted, None where all have."""
    if not database.has_table("scim_type"):
        return set()
    row = database.row("SELECT number, adopting FROM scim_type WHERE name = ?", (resource_type.name,))
    if row is None:
        return set()
    if row[1] != "resources":
        return None
    return {one for (one,) in database.rows("SELECT id FROM scim_resource WHERE type = ?", row[:1])}
