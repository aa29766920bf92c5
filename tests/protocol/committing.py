"""Resources in a storage of each kind, and what is kept of their changes: what the tests of commits share."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from app.configuration.settings import Settings
from app.protocol.changes import ChangeBuilder
from app.protocol.commit import Commit
from app.protocol.completions import Completions
from app.protocol.context import Context, JobPart, system
from app.protocol.cursors import Cursors
from app.protocol.decisions import Decisions
from app.protocol.import_commit import ImportCommit
from app.protocol.intents import Intents
from app.protocol.jobs import Jobs
from app.protocol.notes import Notes
from app.protocol.profiles import Locations
from app.protocol.resources import Resources
from app.protocol.search import SearchLimits
from app.protocol.secrets import Secrets
from app.protocol.view import Views
from schema import urns
from schema.resource_type import ResourceType
from set_delivery.change_log import ChangeEntry, ChangeLog
from set_delivery.change_order import ChangeOrder
from set_delivery.dispatch import Dispatcher
from set_delivery.intents import IntentTable
from set_delivery.poll import Streams
from set_delivery.streams import Publishing
from set_delivery.tables import prepare_state
from storage.adapter import StorageAdapter, StoredResource
from storage.complete import complete
from storage.hashing import Hasher
from storage.registry import open_storage
from storage.shared_options import Hashing
from storage.sql.opening import open_database
from tests.protocol.samples import GROUP, REGISTRY, USER
from tests.storage.memory import MemoryAdapter, MemoryWithMembers

NOW: Final = 1_000_000
SETTLING_MS: Final = 60_000
# Members apart from resources, and within them; then with transactions, without and with the changes.
WITHOUT_TRANSACTIONS: Final = ("apart", "within")
STORAGES: Final = (*WITHOUT_TRANSACTIONS, "files", "sqlite")


class Store:
    """A storage, the state database, and the resources that write to both."""

    def __init__(self, kind: str, folder: Path, is_on: bool = True, keeps_history: bool = True) -> None:
        self.adapter = _opened(kind, folder)
        self.adapter.prepare(REGISTRY.resource_types)
        shared = self.adapter.state_database if kind == "sqlite" else None
        self.database = shared or open_database(f"sqlite:///{folder}/state.db")
        prepare_state(self.database)
        self.publishing = Publishing("scim", poll=is_on)
        limits = SearchLimits(100, 1000, Cursors(lambda principal: [b"k"], 60, lambda: datetime.now(UTC)))
        views = Views(REGISTRY, self.adapter, Locations(), limits)
        self.log = ChangeLog(self.database)
        self.jobs = Jobs(self.database, [b"k" * 32], 60)
        representation = views.whole("default").representation
        builder = ChangeBuilder(REGISTRY, self.adapter, representation, self.publishing)
        intents = IntentTable(self.database, SETTLING_MS, lambda: NOW)
        self.notes = Notes(
            builder, self.log, intents, self.jobs, self.database, shared is not None, keeps_history
        )
        completions = Completions(REGISTRY, views, self.jobs, self.log, self.publishing)
        looks = Intents(REGISTRY, self.adapter, self.notes)
        wanted = self.notes if is_on or keeps_history else None
        self.commit = Commit(self.adapter, wanted, looks, completions)
        self.imports = ImportCommit(self.adapter, wanted)
        capabilities, needs_delta = self.adapter.capabilities, is_on or shared is None
        needs_delta = needs_delta and wanted is not None
        clock, secrets = lambda: datetime.now(UTC), Secrets(Hasher(Hashing()))
        decisions = Decisions(REGISTRY, capabilities, {}, clock, secrets, needs_delta)
        self.resources = Resources(REGISTRY, views, decisions, self.commit)

    # -- requests

    def user(self, name: str) -> StoredResource:
        body = {"schemas": [urns.USER], "userName": name}
        return self.resources.create(system(), USER, body)

    def group(self, name: str, *members: StoredResource) -> StoredResource:
        return self.resources.create(system(), GROUP, group_of(name, *members))

    def job(self, method: str, resource_type: ResourceType, resource_id: str | None = None) -> Context:
        """Return the context of a request that was accepted, and is being carried out."""
        request = {
            "method": method,
            "resource_type": resource_type.name,
            "resource_id": resource_id,
            "attributes": [],
            "excluded_attributes": [],
        }
        self.jobs.accept("p", "*", request)
        claimed = self.jobs.claim("owner")
        assert claimed is not None
        return replace(system("async"), txn=claimed.txn, job=JobPart(claimed, request))

    def result(self, context: Context) -> Any:
        """Return the result of a request that was accepted, None while it has none."""
        status = self.jobs.status(context.txn, "p")
        assert status is not None
        return status.result

    # -- what is kept

    def names(self, group: StoredResource) -> list[str]:
        """Return the ids of the members of a group."""
        now = self.adapter.get(GROUP, group.id)
        return sorted(member.resource_id for member in self.adapter.members(GROUP, now))

    def rows(self) -> list[ChangeEntry]:
        """Return the rows of the change log, as they were appended."""
        found = self.database.rows("SELECT DISTINCT txn FROM scim_change")
        rows = [one for (txn,) in found for one in self.log.of_txn(txn)]
        return [one.entry for one in sorted(rows, key=lambda one: one.seq)]

    def changes(self) -> list[tuple[str, str, list[str]]]:
        """Return what each row of the change log says was done to which attributes of what."""
        return [(row.kind, row.resource_id, sorted(orjson.loads(row.paths))) for row in self.rows()]

    def events(self, feed: str = "default") -> list[tuple[str, str | None]]:
        """Return what the SETs of a feed say of what."""
        order = ChangeOrder(self.database)
        Dispatcher(self.database, self.log, order, self.publishing).run()
        sets = Streams(self.database).after(feed, None, 1000).sets
        return [
            (one.event.kind.removeprefix("urn:ietf:params:scim:event:"), one.event.subject.resource_id)
            for one in sets
        ]

    def intents(self) -> list[tuple[int, int]]:
        """Return since when the outcome of each write is open, and when it is looked at."""
        rows = self.database.rows("SELECT made_at, due_at FROM scim_intent ORDER BY seq")
        return [(since, due_at) for since, due_at in rows]


def group_of(name: str, *members: StoredResource, **more: Any) -> dict[str, Any]:
    """Return a group as a client sends it."""
    elements = [{"value": member.id} for member in members]
    return {"schemas": [urns.GROUP], "displayName": name, "members": elements, **more}


def patch_of(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [urns.PATCH_OP], "Operations": list(operations)}


def ahead_of(called_on: object, method: str, act: Callable[[], object]) -> None:
    """Have `act` called just before the next call of a method; what it raises comes instead of the call."""
    original = getattr(called_on, method)

    def called(*args: Any, **options: Any) -> Any:
        setattr(called_on, method, original)
        act()
        return original(*args, **options)

    setattr(called_on, method, called)


def failing(problem: BaseException) -> Callable[..., object]:
    """Return a function that raises `problem`."""

    def fail(*args: object) -> None:
        raise problem

    return fail


def _opened(kind: str, folder: Path) -> StorageAdapter:
    if kind in WITHOUT_TRANSACTIONS:
        memory = MemoryAdapter() if kind == "within" else MemoryWithMembers()
        return complete(memory, REGISTRY.resource_types)
    url = {"DATABASE_URL": f"sqlite:///{folder}/scim.db"}
    environ = url if kind == "sqlite" else {"DATA_PATH": f"{folder}/files"}
    return open_storage(*Settings.from_env({"API_KEY": "k", **environ}).backend)


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Make a store of a kind; `is_on` and `keeps_history` say who wants to know of changes."""
    made: list[Store] = []

    def make(kind: str, **options: bool) -> Store:
        made.append(Store(kind, tmp_path, **options))
        return made[-1]

    yield make
    for store in made:
        store.database.close()
        store.adapter.close()
