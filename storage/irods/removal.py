"""Removing accounts: the data of one passes to a new group with the metadata DELETED and TIMESTAMP."""

from datetime import UTC, datetime
from typing import Final

from irods.models import Collection, DataObject

from schema.values import format_date_time
from storage.errors import StorageUnavailable
from storage.irods.form import DELETED, TIMESTAMP, State
from storage.irods.wire import GROUPS, USERS, Avu, Zone

# The beginning of the names of the groups with the data of deleted accounts.
_HEIR: Final = "deleted."


class Removal:
    """Removes users and groups."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def remove(self, state: State) -> None:
        """Remove an account; its data belongs to a group afterwards."""
        name = state.account.name
        homes = (f"/{self._zone.name}/home/{name}", f"/{self._zone.name}/trash/home/{name}")
        # A group is the owner of nothing that it did not get from a user.
        owned = self._owned(name) - set(homes) if state.account.account_type == USERS else set()
        # The home may also hold data of others: then iRODS does not remove the account yet.
        if not owned and self._zone.remove_account(name):
            return
        self._pass_on(state, homes, [path for path in sorted(owned) if not _is_in(path, homes)])
        if not self._zone.remove_account(name):
            raise StorageUnavailable(f"iRODS does not remove account {state.account.number}: it owns data")

    def _owned(self, name: str) -> set[str]:
        """Return the paths of the collections and data objects that a user owns.

        Without the data of an earlier user of that name in a group, which has that name as its owner.
        """
        owner = [Collection.owner_name == name, Collection.owner_zone == self._zone.name]
        paths = {row[Collection.name] for row in self._zone.rows([Collection.name], *owner)}
        owner = [DataObject.owner_name == name, DataObject.owner_zone == self._zone.name]
        for row in self._zone.rows([Collection.name, DataObject.name], *owner):
            paths.add(f"{row[Collection.name]}/{row[DataObject.name]}")
        return {path for path in paths if not path.startswith(f"/{self._zone.name}/home/{_HEIR}")}

    def _content(self, home: str) -> tuple[list[str], list[str]]:
        """Return the paths of the collections and of the data objects in a collection."""
        rows = self._zone.rows([Collection.name], Collection.parent_name == home)
        collections = sorted(row[Collection.name] for row in rows)
        rows = self._zone.rows([DataObject.name], Collection.name == home)
        return collections, sorted({f"{home}/{row[DataObject.name]}" for row in rows})

    def _pass_on(self, state: State, homes: tuple[str, ...], elsewhere: list[str]) -> None:
        """Give all data to a group; after a failure, every step can be repeated."""
        account = state.account
        group = f"{_HEIR}{account.number}.{account.name}"[:63].rstrip(".")
        self._zone.add_account(group, GROUPS)
        self._zone.add_metadata(group, Avu(DELETED, account.name))
        self._zone.change_metadata(group, add=[Avu(TIMESTAMP, format_date_time(datetime.now(UTC)))])
        for path in elsewhere:
            self._zone.own(path, group)
        for number, home in enumerate(homes):
            collections, data_objects = self._content(home)
            if not collections and not data_objects:
                continue
            # To move data, or to create a collection in another, even an administrator must own it.
            self._own(home, group)
            its_home = f"/{self._zone.name}/home/{group}"
            targets = [its_home, f"{its_home}/trash"][: number + 1]
            for target in targets:
                self._zone.make_collection(target)
                self._own(target, group)
            self._zone.move(collections, data_objects, targets[-1])

    def _own(self, path: str, group: str) -> None:
        for name in (group, self._zone.username):
            self._zone.own(path, name, recursive=True)


def _is_in(path: str, collections: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{collection}/") for collection in collections)
