"""An index over parts of values (FILTER_INDEX), by which `co` and `ew` are found."""

from abc import ABC, abstractmethod
from typing import Final

from storage.index.database import Database

LEAST: Final = 3
"""The least number of characters that such an index finds."""


class PartsIndex(ABC):
    """An index that the database keeps over the values of scim_attribute, whichever process writes them."""

    @abstractmethod
    def prepare(self, database: Database) -> None:
        """Make the index, or go on making it, until it has all values. Raises StorageUnavailable."""

    @abstractmethod
    def condition(self, operator: str, key: str) -> tuple[str, tuple[object, ...]]:
        """Return a condition on a row `a` of scim_attribute that holds wherever the comparison does.

        `operator` is `co` or `ew`; `key` has `LEAST` characters or more, none of them NUL. The condition is
        for looking rows up, not for testing one.
        """
