"""What people are told of a condition: how the index answers it."""

from typing import Final

from scim_filter.compiler import FilterCompiler
from storage.index.native import COMMON, EQUAL, RANGE, SCAN, UNIQUE, UNKNOWN, Native

# By rank, the guess how many resources a condition lets through.
_ACCESS: Final = {
    UNIQUE: "looks up one unique value",
    EQUAL: "looks up one value",
    RANGE: "reads a range of the index",
    SCAN: "reads all index entries of the attribute",
    COMMON: "looks up what many resources have",
    UNKNOWN: "tests every resource by the index",
}


class ToldCompiler(FilterCompiler[Native]):
    """Tells the rank of a condition, and its SQL without values."""

    def access(self, native: Native) -> str:
        return _ACCESS[native.rank]

    def shown(self, native: Native) -> str:
        return native.where
