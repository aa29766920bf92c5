"""An adapter on a zone of its own, and a client of that zone beside it."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from irods.models import User, UserMeta
from irods.session import iRODSSession

from app.configuration.settings import Settings
from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.registry import open_storage
from storage.search import search
from storage.testing import REGISTRY, represent, stored
from tests.fake_irods import FakeIrodsServer, FakeZone

Avu = tuple[str, str, str]


class Store:
    """A zone, and an adapter that has been prepared on it."""

    def __init__(self, server: FakeIrodsServer) -> None:
        self.database = server.new_database()
        self.environ = server.environ(self.database)
        self.zone = server.zone(self.database)
        self.adapter = self.open()
        self.empty = partial(server.empty, self.database)

    @property
    def fake(self) -> FakeZone:
        """The zone, where it is one that can be told to misbehave."""
        if not isinstance(self.zone, FakeZone):
            pytest.skip("a real zone cannot be told to misbehave")
        return self.zone

    def open(self, **options: Any) -> StorageAdapter:
        """Return another adapter on the zone, with other options. It manages accounts of other programs."""
        name, chosen = Settings.from_env(self.environ).backend
        adapter = open_storage(name, replace(chosen, **{"foreign_entries": "managed", **options}))
        adapter.prepare(REGISTRY.resource_types)
        return adapter

    def session(self, user: str | None = None, password: str | None = None) -> iRODSSession:
        """Return what another program would use, as an administrator unless told otherwise."""
        return iRODSSession(
            host=self.environ["IRODS_HOST"],
            port=int(self.environ["IRODS_PORT"]),
            user=user or self.environ["IRODS_ADMIN_USERNAME"],
            password=password or self.environ["IRODS_ADMIN_PASSWORD"],
            zone=self.environ["IRODS_ZONE"],
        )

    def names(self, account_type: str = "rodsuser") -> set[str]:
        """Return the names of the accounts of a type."""
        with self.session() as session:
            return {row[User.name] for row in session.query(User.name).filter(User.type == account_type)}

    def metadata(self, resource_id: str) -> list[Avu]:
        """Return all metadata of an account."""
        columns = (UserMeta.name, UserMeta.value, UserMeta.units)
        with self.session() as session:
            query = session.query(*columns).filter(User.id == int(resource_id))
            return [(row[columns[0]], row[columns[1]], row[columns[2]] or "") for row in query]

    def account_of(self, resource_id: str) -> str:
        """Return the name of the account that a resource is."""
        with self.session() as session:
            row = session.query(User.name).filter(User.id == int(resource_id)).one()
            name: str = row[User.name]
            return name


def create(adapter: StorageAdapter, resource_type: ResourceType, **document: Any) -> StoredResource:
    """Keep a resource and return it."""
    return adapter.create(resource_type, stored("given-by-the-backend", **document))


def changed(resource: StoredResource, **document: Any) -> StoredResource:
    """Return a resource as a caller would replace it."""
    return stored(resource.id, **document)


def found(adapter: StorageAdapter, resource_type: ResourceType, text: str) -> list[str]:
    """Return the ids of the resources that match a filter."""
    node = resolve(parse_filter(text, max_length=20_000), resource_type)
    return [r.id for r in search(adapter, resource_type, Selection(node), represent).resources]


def values(avus: Iterable[Avu], attribute: str) -> list[str]:
    return [value for name, value, _ in avus if name == attribute]
