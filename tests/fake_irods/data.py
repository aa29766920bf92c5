"""What is kept in a zone: collections and data objects by path, who made them and who owns them."""

import threading
from collections.abc import Mapping


class Refused(Exception):
    """The server answers with an error."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Data:
    """The data of a zone; every method is one transaction."""

    def __init__(self, zone: str, admin: str) -> None:
        self.zone = zone
        self.lock = threading.RLock()
        # Who made each, and who else may change it.
        self.collections = {f"/{zone}/{root}": admin for root in ("home", "trash", "trash/home")}
        self.data: dict[tuple[str, str], str] = {}
        self.owners: dict[str, set[str]] = {}

    def empty_data(self, collections: Mapping[str, str]) -> None:
        """Leave nothing but these collections."""
        self.collections = dict(collections)
        self.data.clear()
        self.owners.clear()

    def holds_something(self, collection: str) -> bool:
        inside = any(path.startswith(f"{collection}/") for path in self.collections)
        return inside or any(parent == collection for parent, _ in self.data)

    def put_data(self, path: str, owner: str) -> None:
        """Make a data object, and its collection where there is none."""
        parent, _, name = path.rpartition("/")
        with self.lock:
            self.make_collection(parent, owner)
            self.data[parent, name] = owner

    def make_collection_as(self, user: str, path: str) -> None:
        """Make a collection, which takes who owns the one that it is in; what is there is no matter."""
        with self.lock:
            there = path
            while there not in self.collections and there:
                there = there.rpartition("/")[0]
            if there != path:
                self._require_owner(user, there)
            self.make_collection(path, user)

    def _require_owner(self, user: str, path: str) -> None:
        if user not in (self.collections.get(path), *self.owners.get(path, ())):
            raise Refused(-818000)

    def make_collection(self, path: str, owner: str) -> None:
        with self.lock:
            parts = path.split("/")
            for end in range(3, len(parts) + 1):
                self.collections.setdefault("/".join(parts[:end]), owner)

    def own(self, path: str, name: str, recursive: bool) -> None:
        with self.lock:
            parent, _, last = path.rpartition("/")
            if path not in self.collections and (parent, last) not in self.data:
                raise Refused(-814000)
            self.owners.setdefault(path, set()).add(name)
            for inner in (p for p in self.paths() if recursive and p.startswith(f"{path}/")):
                self.owners.setdefault(inner, set()).add(name)

    def paths(self) -> list[str]:
        """Return the path of everything there is."""
        return [*self.collections, *(f"{parent}/{name}" for parent, name in self.data)]

    def move(self, source: str, target: str, mover: str) -> None:
        with self.lock:
            if mover not in self.owners.get(source, ()):
                raise Refused(-818000)
            self._require_owner(mover, target.rpartition("/")[0])
            for path in [p for p in self.collections if f"{p}/".startswith(f"{source}/")]:
                self.collections[target + path[len(source) :]] = self.collections.pop(path)
            for parent, name in list(self.data):
                path = f"{parent}/{name}"
                if f"{path}/".startswith(f"{source}/"):
                    new_parent, _, new_name = (target + path[len(source) :]).rpartition("/")
                    self.data[new_parent, new_name] = self.data.pop((parent, name))
            for path in [p for p in self.owners if f"{p}/".startswith(f"{source}/")]:
                self.owners[target + path[len(source) :]] = self.owners.pop(path)
