"""Whether this process makes index rows by the rules that hold now.

scim_generation holds one number. A process whose paths or rules are not those of scim_path raises it in
the transaction that changes scim_path. A write reads the number with a lock: the number stays until the
write is committed. Either the write is first, and its resource is indexed together with all others, or the
change is first, and the write is refused. Processes that know no number: `storage.index.mending`.
"""

import logging

from storage.errors import Contention, SettingsSuperseded
from storage.index.database import Database
from storage.index.layout import LISTED, TypeLayout
from storage.index_paths import signature

_LOG = logging.getLogger(__name__)

NUMBER = "(SELECT number FROM scim_generation)"
"""the generation as a part of a statement that reads"""


def locked_number(database: Database) -> str:
    """Return the generation as a part of a statement that writes or will: it stays until the commit."""
    return f"(SELECT number FROM scim_generation{database.dialect.for_share})"


def generation_of(database: Database) -> int:
    """Return the generation; within a transaction, it stays until the commit."""
    lock = database.dialect.for_share if database.in_transaction else ""
    return int(database.row(f"SELECT number FROM scim_generation{lock}")[0])


def require_current(database: Database, layout: TypeLayout, number: int) -> None:
    """Return if this process makes the rows of a type as generation `number` has them.

    Raises SettingsSuperseded.
    """
    if number == layout.generation:
        return
    _follow(database, layout)
    if number != layout.generation:
        raise SettingsSuperseded.of(layout.resource_type.name)


def refuse(database: Database, layout: TypeLayout) -> None:
    """Raise SettingsSuperseded, or Contention where the same may succeed when repeated."""
    require_current(database, layout, generation_of(database))
    raise Contention("the index was prepared by another process at the same time")


def is_readable(database: Database, layout: TypeLayout, number: int) -> bool:
    """Return whether what was found by index in generation `number` is right for this process."""
    if number != layout.readable:
        _follow(database, layout)
        # The rows that were found may be of the moment before.
        return False
    return True


def _follow(database: Database, layout: TypeLayout) -> None:
    """Go on in the generation that is there now, as far as its rules are those of this process.

    Others may have raised the number for another type, or changed rules and changed them back.
    """
    rows = database.rows(
        "SELECT g.number, p.path, p.number, p.signature, p.ready FROM scim_generation g "
        "JOIN scim_path p ON p.type = ?",
        (layout.number,),
    )
    ready = {path: (number, rule) for _, path, number, rule, is_ready in rows if is_ready}
    listed = [number for _, _, number, _, is_ready in rows if is_ready == LISTED]
    rules = {text: signature(layout.resource_type, text) for text in layout.numbers}
    if len(ready) == len(rows) and {text: rule for text, (_, rule) in ready.items()} == rules:
        layout.follow(rows[0][0], {text: number for text, (number, _) in ready.items()}, listed)
        _LOG.warning("%s: indexed by the same rules again", layout.resource_type.name)
    elif ready.items() >= {text: (layout.numbers[text], rule) for text, rule in rules.items()}.items():
        layout.readable = rows[0][0]
