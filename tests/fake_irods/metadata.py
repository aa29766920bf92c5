"""Metadata of a zone: rows of attribute, value and unit, and their attachments to accounts.

As in the catalogue of iRODS, nothing makes a row unique. An addition looks for a row first, and inserts one
later: two additions of a new triple at the same time make twin rows. Rows without an attachment stay.
"""

import itertools

Avu = tuple[str, str, str]


class Metadata:
    """The rows, and the numbers of the accounts that each row is attached to."""

    def __init__(self) -> None:
        self.rows: dict[int, Avu] = {}
        self._numbers = itertools.count(50001)
        self._of_triple: dict[Avu, dict[int, None]] = {}
        self._of_value: dict[str, set[int]] = {}
        # In the order of attachment.
        self._attached: dict[int, dict[int, None]] = {}
        self._holders: dict[int, set[int]] = {}

    def first(self, avu: Avu) -> int | None:
        """Return one row of a triple, the same one every time, or None where there is none."""
        return next(iter(self._of_triple.get(avu, ())), None)

    def twins(self, avu: Avu) -> list[int]:
        """Return all rows of a triple."""
        return list(self._of_triple.get(avu, ()))

    def insert(self, avu: Avu) -> int:
        row = next(self._numbers)
        self.rows[row] = avu
        self._of_triple.setdefault(avu, {})[row] = None
        self._of_value.setdefault(avu[1], set()).add(row)
        return row

    def attached(self, account: int) -> dict[int, Avu]:
        """Return what is attached to an account; an attachment to a purged row shows nothing."""
        return {row: self.rows[row] for row in self._attached.get(account, ()) if row in self.rows}

    def is_attached(self, account: int, row: int | None) -> bool:
        return row in self._attached.get(account, {})

    def attach(self, account: int, row: int) -> None:
        self._attached.setdefault(account, {})[row] = None
        self._holders.setdefault(row, set()).add(account)

    def detach(self, account: int, row: int) -> None:
        self._attached.get(account, {}).pop(row, None)
        self._holders.get(row, set()).discard(account)

    def detach_all(self, account: int) -> None:
        for row in list(self._attached.get(account, ())):
            self.detach(account, row)

    def holders(self, value: str) -> set[int]:
        """Return the accounts with a row of this value."""
        return set().union(*(self._holders.get(row, set()) for row in self._of_value.get(value, ())))

    def purge(self) -> None:
        """Remove the rows that are attached to nothing."""
        for row in [row for row in self.rows if not self._holders.get(row)]:
            avu = self.rows.pop(row)
            self._of_triple[avu].pop(row)
            self._of_value[avu[1]].discard(row)
