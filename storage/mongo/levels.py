"""The groups that resources are in, level by level."""

from collections.abc import Mapping, Sequence
from typing import Any

from storage.adapter import Key, Membership
from storage.batches import batches
from storage.mongo.find import SHOWN, LookUp, shown
from storage.mongo.wire import MEMBERS, Database, Query, joined


class Levels:
    """Reads the groups of resources, level by level."""

    def __init__(self, database: Database, look_up: LookUp) -> None:
        # What is shown of each group that exists.
        self._shown: dict[Key, dict[str, Any]] = {}
        self._database = database
        self._types = look_up.layouts
        self._nesting = sorted(look_up.nesting)
        # Groups that are in no group.
        self._topmost: set[Key] = set()

    def groups_of(self, keys: Sequence[Key]) -> dict[Key, set[Key]]:
        """Return the groups that each resource is a direct member of."""
        found: dict[Key, set[Key]] = {}
        for batch in batches(sorted(key for key in keys if key not in self._topmost)):
            types, ids = {key[0] for key in batch}, {key[1] for key in batch}
            query = {"memberType": {"$in": list(types)}, "member": {"$in": list(ids)}}
            with self._database.reading() as documents:
                for row in documents[MEMBERS].aggregate([{"$match": query}, *self.stages()]):
                    group = self.note(row)
                    for member in row["members"]:
                        found.setdefault((member["type"], member["id"]), set()).add(group)
        # The query also combines the id of one key with the type of another.
        return {key: found[key] for key in keys if key in found}

    def note(self, row: Mapping[str, Any]) -> Key:
        """Take over what a row of the pipeline tells of a group, and return its key."""
        group = row["_id"]["type"], row["_id"]["id"]
        for number, name in enumerate(self._nesting):
            if group[0] == name and row[f"type{number}"]:
                self._shown[group] = shown(row[f"type{number}"][0])
        if not row["above"]:
            self._topmost.add(group)
        return group

    def memberships(self, steps: Mapping[Key, int]) -> list[Membership]:
        """Return the memberships in those of the groups that exist, by the number of steps to each."""
        groups = self._shown
        known = sorted((key for key in steps if key in groups), key=lambda key: groups[key]["place"])
        return [Membership(key[1], key[0], groups[key].get("display"), steps[key] == 1) for key in known]

    def stages(self) -> list[Query]:
        """Return the stages from memberships to groups, each with its members and what is shown of it."""
        by_group = {
            "_id": {"type": "$groupType", "id": "$group"},
            "members": {"$push": {"type": "$memberType", "id": "$member"}},
        }
        stages: list[Query] = [{"$group": by_group}]
        first, let = {"$limit": 1}, {"group": "$_id.id"}
        same = {"$expr": {"$eq": ["$_id", "$$group"]}}
        for number, name in enumerate(self._nesting):
            collection, fields = self._types[name].collection, {"$project": SHOWN}
            stages.append(joined(collection, same, f"type{number}", first, fields, let=let))
        above = {"memberType": {"$in": self._nesting}, "$expr": {"$eq": ["$member", "$$group"]}}
        return [*stages, joined(MEMBERS, above, "above", first, {"$project": {"_id": 1}}, let=let)]
