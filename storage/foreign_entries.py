"""Entries of other programs: what a backend makes of one, by the setting FOREIGN_ENTRIES.

A backend that shares its store with other programs knows its own entries by a mark. Every entry
without the mark passes `ForeignEntries.shown` when it is read. Unique values alone are compared with all
entries.
"""

from dataclasses import dataclass, replace

from storage.adapter import StoredResource


@dataclass(frozen=True)
class ForeignEntries:
    """The treatment of entries of other programs: `hidden`, `read` or `managed`."""

    treatment: str = "hidden"

    @property
    def are_hidden(self) -> bool:
        """Whether such an entry is no resource."""
        return self.treatment == "hidden"

    @property
    def keep_names(self) -> bool:
        """Whether no resource of this server may have the name of such an entry."""
        return self.treatment != "managed"

    def shown(self, foreign: StoredResource) -> StoredResource | None:
        """Return the resource of such an entry as callers get it, None for none."""
        if self.are_hidden:
            return None
        return replace(foreign, read_only=True) if self.treatment == "read" else foreign
