"""Members and memberships: `member` values (DNs) of groups, added and deleted one by one."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote, unquote

import ldap
from ldap.controls.libldap import MatchedValuesControl

from storage.adapter import Key, Member, Membership, StoredResource
from storage.batches import batches
from storage.ldap.find import Tree
from storage.ldap.form import Located, Unit
from storage.ldap.layout import LAYOUTS, all_of, any_of, equality, is_id, normal
from storage.ldap.wire import Entry, Modification, Session
from storage.nesting import nested

_PREFIX = "urn:scim:member:"
_DISPLAYS = tuple(layout.display for layout in LAYOUTS)
# Up to that number of values, a search returns these values only (matched values, RFC 3876).
_FEW = 10
_BATCH = 100


class Members:
    """The members of the groups in a tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def names(self, session: Session, group: Located) -> tuple[list[str], dict[Key, str]]:
        """Return the DNs of the members of a group, and the `display` values that clients have sent."""
        entry = session.read(group.entry.dn, ["member", *_DISPLAYS])
        if entry is None:
            return [], {}
        names = [name for name in entry.values("member") if self._tree.unit_of(name) is not None]
        return names, {key: display for key, (_, display) in _displays(entry).items()}

    def read(self, session: Session, names: Sequence[str], shown: Mapping[Key, str]) -> list[Member]:
        """Return the existing resources with these DNs as members."""
        found = (unit.member(one) for unit, one in self._tree.named(session, names))
        return [
            replace(one, display=shown.get(one.key) or shown.get(("", one.resource_id), one.display))
            for one in found
        ]

    def among(self, session: Session, group: Located, member_ids: Sequence[str]) -> list[Member]:
        """Return the members of a group with one of these ids, those that are gone too."""
        usual = self._usual_names((name, i) for i in dict.fromkeys(member_ids) for name in self._tree.units)
        _, had = self._held(session, group, list(usual.values()))
        # In another spelling, the member may be the resource with another id.
        found = {key: Member(key[1], key[0]) for key, name in usual.items() if had.get(normal(name)) == name}
        pending = [i for _, i in self._unseen(usual, found)]
        located = self._tree.locate(session, pending) if pending else {}
        others = {one.entry.dn: unit.member(one) for there in located.values() for unit, one in there}
        others = {name: one for name, one in others.items() if name not in usual.values()}
        _, held = self._held(session, group, list(others)) if others else (None, {})
        found |= {one.key: one for name, one in others.items() if normal(name) in held}
        return list(found.values())

    def change(
        self, session: Session, unit: Unit, group: Located, add: Iterable[Member], remove: Iterable[Member]
    ) -> list[Modification]:
        """Return the modifications that remove members and then add others; none if nothing changes."""
        joining = {member.key: member for member in add}
        located = self._tree.existing(session, joining)
        joining_names = {key: found.entry.dn for key, found in located.items()}
        leaving = self._usual_names(member.key for member in remove)
        if not leaving and not joining_names:
            return []
        entry, had = self._held(session, group, [*leaving.values(), *joining_names.values()])
        # As in `among`.
        going = {key: name for key, name in leaving.items() if had.get(normal(name)) == name}
        if len(going) < len(leaving):
            others = self._other_names(session, leaving, going)
            _, held = self._held(session, group, list(others.values())) if others else (None, {})
            going |= {key: name for key, name in others.items() if normal(name) in held}
        left = set(had) - normalized(going.values())
        coming = {key: name for key, name in joining_names.items() if normal(name) not in left}
        changes: list[Modification] = []
        if going:
            changes.append((ldap.MOD_DELETE, "member", [name.encode() for name in going.values()]))
        if coming:
            changes.append((ldap.MOD_ADD, "member", [name.encode() for name in coming.values()]))
        if not changes:
            return []
        labels = {}
        for key in coming:
            own = self._tree.units[key[0]].member(located[key]).display
            if joining[key].display not in (None, own):
                labels[key] = joining[key].display
        return changes + _label_changes(entry, unit, going, labels)

    def _held(
        self, session: Session, group: Located, names: Sequence[str]
    ) -> tuple[Entry | None, dict[str, str]]:
        """Return the entry of a group, and its members by their normal DN, at least those among `names`."""
        entry = session.read(group.entry.dn, ["member", *_DISPLAYS], _matched_values(names, _DISPLAYS))
        return entry, {normal(name): name for name in entry.values("member")} if entry else {}

    def _usual_names(self, keys: Iterable[Key]) -> dict[Key, str]:
        """Return the last known DNs of resources that may be gone."""
        units = self._tree.units
        return {(name, i): units[name].dn_of(i) for name, i in keys if name in units and is_id(i)}

    def _other_names(
        self, session: Session, leaving: Mapping[Key, str], going: Mapping[Key, str]
    ) -> dict[Key, str]:
        """Return the DNs of the resources that are no members by their last known DN."""
        found = self._tree.existing(session, self._unseen(leaving, going))
        return {key: one.entry.dn for key, one in found.items()}

    def _unseen(self, keys: Iterable[Key], seen: Collection[Key]) -> list[Key]:
        """Return the keys whose resources can have another DN than the last known one."""
        ids = {member_id for _, member_id in seen}
        return [
            (name, member_id)
            for name, member_id in keys
            if member_id not in ids or ((name, member_id) not in seen and self._tree.units[name].has_others)
        ]

    def forget(self, session: Session, name: str) -> None:
        """Remove a deleted entry from the groups that have it as a member, those of other programs too.

        It stays in a group that must have a member, and has no other.
        """
        for unit in self._tree.units.values():
            if unit.resource_type.members is None:
                continue
            for group in session.find(unit.dn, all_of([unit.kind.filter, equality("member", name)]), ["1.1"]):
                with suppress(ldap.NO_SUCH_ATTRIBUTE, ldap.NO_SUCH_OBJECT, ldap.OBJECT_CLASS_VIOLATION):
                    session.modify(group.dn, [(ldap.MOD_DELETE, "member", [name.encode()])])

    def inside(self, session: Session, unit: Unit, resource_id: str) -> list[StoredResource]:
        """Return the resources of a type in a group or in groups within it, by place."""
        located = self._tree.locate(session, [resource_id]).get(resource_id, ())
        level = {normal(found.entry.dn): found.entry.dn for _, found in located}
        seen: dict[str, str] = {}
        while level:
            entries = session.read_many(level.values(), ["member"])
            inner = {normal(name): name for entry in entries for name in entry.values("member")}
            level = {key: name for key, name in inner.items() if key not in seen}
            seen |= level
            holders = {key: self._tree.unit_of(name) for key, name in level.items()}
            level = {k: level[k] for k, held in holders.items() if held and held.resource_type.members}
        names = [name for name in seen.values() if self._tree.unit_of(name) is unit]
        read = {found.entry.dn: found.stored for _, found in self._tree.read(session, names)}
        return sorted(read.values(), key=lambda stored: stored.place)

    # -- upwards

    def filter_for(self, session: Session, resource_id: str) -> str:
        """Return the filter for the groups with a resource as a member."""
        located = self._tree.locate(session, [resource_id]).get(resource_id)
        if located is None:
            return "(!(objectClass=*))"
        return any_of(equality("member", found.entry.dn) for _, found in located)

    def above(self, session: Session, names: Mapping[str, str]) -> dict[str, list[Membership]]:
        """Return the direct and indirect groups of each resource; `names` has DNs by id."""
        spelled = {normal(name): name for name in names.values()}
        groups: dict[str, tuple[Unit, Located]] = {}

        def groups_of(keys: Sequence[str]) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for unit, group, inner in self._groups_of(session, [spelled[key] for key in keys]):
                name = normal(group.entry.dn)
                spelled.setdefault(name, group.entry.dn)
                groups[name] = unit, group
                for key in inner:
                    found.setdefault(key, []).append(name)
            return found

        above = nested(groups_of(list(spelled)), groups_of)
        return {i: _memberships(above.get(normal(name), {}), groups) for i, name in names.items()}

    def _groups_of(self, session: Session, names: list[str]) -> Iterator[tuple[Unit, Located, set[str]]]:
        """Yield each group with members among the DNs, and these members."""
        for unit in self._tree.units.values():
            if unit.resource_type.members is None:
                continue
            for batch in batches(names, _BATCH):
                wanted = normalized(batch)
                having = any_of(equality("member", name) for name in batch)
                text = all_of([unit.filter, having])
                reader = self._tree.readers[unit.resource_type.name]
                which = ("member",) if len(batch) > 1 else ()
                entries = session.find(unit.dn, text, (*reader.attributes, *which))
                groups = self._tree.read_partly(session, reader, entries)
                for entry, group in zip(entries, groups, strict=True):
                    if group is not None:
                        yield unit, group, normalized(entry.values("member")) & wanted if which else wanted


def _memberships(
    steps: Mapping[str, int], groups: Mapping[str, tuple[Unit, Located]]
) -> list[Membership]:
    """Return groups as memberships, sorted by the number of steps, then by place."""
    found = []
    for name in sorted(steps, key=lambda name: (steps[name], groups[name][1].stored.place)):
        unit, group = groups[name]
        member = unit.member(group)
        found.append(Membership(member.resource_id, member.resource_type, member.display, steps[name] == 1))
    return found


def normalized(names: Iterable[str]) -> set[str]:
    """Return the DNs, each normalized."""
    return set(map(normal, names))


def _matched_values(names: Sequence[str], attributes: Iterable[str] = ()) -> list[MatchedValuesControl]:
    """Return the control for a few members and for all values of other attributes."""
    if not names or len(names) > _FEW:
        return []
    wanted = [equality("member", name) for name in names] + [f"({name}=*)" for name in attributes]
    return [MatchedValuesControl(False, f"({''.join(wanted)})")]


def _displays(entry: Entry) -> dict[Key, tuple[str, str]]:
    """Return the `display` values of members, each with the attribute of its label.

    The labels of version 0.2.0 have no resource type: it is empty.
    """
    shown = {}
    for attribute in _DISPLAYS:
        for label in entry.values(attribute):
            quoted, _, display = label.removeprefix(_PREFIX).partition(" ")
            if label.startswith(_PREFIX) and display:
                type_name, _, member_id = quoted.rpartition("/")
                shown[unquote(type_name), unquote(member_id)] = attribute, display
    return shown


def _label(key: Key, display: str) -> bytes:
    name = "/".join(quote(part, safe="") for part in key if part)
    return f"{_PREFIX}{name} {display}".encode()


def _label_changes(
    entry: Entry | None, unit: Unit, going: Iterable[Key], labels: Mapping[Key, str | None]
) -> list[Modification]:
    shown = _displays(entry) if entry else {}
    old = {*going, *labels}
    old |= {("", member_id) for _, member_id in old}
    changes: list[Modification] = []
    for name in _DISPLAYS:
        held = {key: display for key, (attribute, display) in shown.items() if attribute == name}
        gone = [_label(key, held[key]) for key in old if key in held]
        if gone:
            changes.append((ldap.MOD_DELETE, name, gone))
    new = [_label(key, display) for key, display in labels.items() if display]
    if new:
        changes.append((ldap.MOD_ADD, unit.layout.display, new))
    return changes
