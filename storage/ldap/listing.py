"""A page of all resources of a type: of those before and behind it, no more is read than their order."""

from collections.abc import Sequence

from storage.adapter import Found, Selection, StoredResource
from storage.ldap.connections import Directory
from storage.ldap.entries import DELETED, Unit
from storage.ldap.layout import all_of
from storage.ldap.outline import sort_outline
from storage.ldap.resources import Tree
from storage.ldap.session import Session


class Listing:
    """The lists of one tree; `sorts` says whether the server sorts, and cuts a page out of it."""

    def __init__(self, directory: Directory, tree: Tree, sorts: bool) -> None:
        self._directory = directory
        self._tree = tree
        self._sorts = sorts

    def found(self, session: Session, unit: Unit, selection: Selection) -> Found | None:
        """Return what is selected without filter, or None when its order takes the resources themselves."""
        page = self._sorted_by_server(session, unit, selection) if self._sorts else None
        if page is not None:
            return page
        outline = sort_outline(unit, selection.sort)
        if outline is None:
            return None
        outlines = self._tree.outlines_of(session, outline)
        names = {one.stored.id: one.entry.dn for one in outlines}

        def read(page: Sequence[StoredResource]) -> Sequence[StoredResource]:
            with self._directory.lease() as reading:
                found = self._tree.read(reading, [names[stored.id] for stored in page])
                # They are read on the way: the connection is another thread's afterwards.
                return [one.resource for _, one in found]

        return Found(sorted((one.stored for one in outlines), key=lambda stored: stored.place), read=read)

    def _sorted_by_server(self, session: Session, unit: Unit, selection: Selection) -> Found | None:
        """Return a page that the server has sorted and cut out, None when it cannot do so exactly.

        It orders instants and numbers as SCIM does, and no text.
        """
        keys = _keys(unit, selection)
        if keys is None or selection.limit is None:
            return None
        placed = f"({unit.layout.place}=*)"
        if session.has(unit.dn, all_of([unit.kind.filter, f"(!{placed})"])):
            # Entries by others: only reading them tells what they are.
            return None
        text = all_of([unit.kind.filter, placed, f"(!({unit.layout.version}={DELETED}))"])
        window = session.window(unit.dn, text, keys, selection.offset, selection.limit, unit.attributes)
        if window is None:
            return None
        entries, total = window
        read = [unit.read(entry) for entry in entries]
        resources = [one.resource for one in read if one is not None]
        return Found(resources, is_page=True, total=total) if len(resources) == len(entries) else None


def _keys(unit: Unit, selection: Selection) -> list[str] | None:
    """Return the attributes by which a server sorts as SCIM does, each with its direction, or None."""
    layout, sort = unit.layout, selection.sort
    if not layout.has_times or layout.created is None or selection.after or selection.before:
        return None
    if sort is None:
        return [layout.place]
    if sort.path.text != "meta.created":
        return None
    sign = "-" if sort.descending else ""
    return [f"{sign}{layout.created}", f"{sign}{layout.place}"]
