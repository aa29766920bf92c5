"""Resources that are deleted leave every group, and their members go, even if the process dies meanwhile."""

import time
from typing import Final

from storage.mongo.look_up import LookUp
from storage.mongo.members import MEMBERS
from storage.mongo.wire import Database
from storage.mongo.write import LEASE_S

# The resources that are being deleted and have members or memberships.
DELETED: Final = "scim_deleted"


class Departures:
    """Removes resources from memberships."""

    def __init__(self, database: Database, look_up: LookUp) -> None:
        self._database = database
        self._look_up = look_up

    def announce(self, resource_type: str, resource_id: str) -> bool:
        """Note that a resource will be deleted and return True, if it has members or memberships."""
        with self._database.writing() as documents:
            links = _links(resource_type, resource_id)
            if all(documents[MEMBERS].find_one(query, {"_id": 1}) is None for query in links):
                return False
            documents[DELETED].replace_one(
                {"_id": _gone_id(resource_type, resource_id)},
                {"type": resource_type, "id": resource_id, "at": time.time()},
                upsert=True,
            )
            return True

    def forget(self, resource_type: str, resource_id: str, before: int | None = None) -> None:
        """Remove a deleted resource from all groups, and its members; only what joined `before`, if given."""
        older = {"place": {"$lt": before}} if before is not None else {}
        with self._database.writing() as documents:
            for query in _links(resource_type, resource_id):
                documents[MEMBERS].delete_many({**query, **older})

    def conclude(self, resource_type: str, resource_id: str) -> None:
        """Note that the deletion of a resource is complete, or did not take place."""
        with self._database.writing() as documents:
            documents[DELETED].delete_one({"_id": _gone_id(resource_type, resource_id)})

    def finish_deletions(self) -> None:
        """Complete what processes that died left half done."""
        with self._database.reading() as documents:
            rows = list(documents[DELETED].find({"at": {"$lt": time.time() - LEASE_S}}))
            existing = self._look_up.rows(documents, [(row["type"], row["id"]) for row in rows])
        for row in rows:
            if row["type"] in self._look_up.layouts and (row["type"], row["id"]) not in existing:
                self.forget(row["type"], row["id"])
            self.conclude(row["type"], row["id"])


def _links(resource_type: str, resource_id: str) -> tuple[dict[str, str], dict[str, str]]:
    return (
        {"memberType": resource_type, "member": resource_id},
        {"groupType": resource_type, "group": resource_id},
    )


def _gone_id(resource_type: str, resource_id: str) -> str:
    return f"{resource_type}/{resource_id}"
