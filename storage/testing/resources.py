"""Resources of the contract, and how a test makes, reads and searches them."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from schema.registry import Registry, load_registry
from schema.resource_type import ResourceType
from scim_filter import parse_filter, resolve
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.complete import complete
from storage.search import search
from storage.testing.own_ids import OwnIds

REGISTRY: Registry = load_registry()
USER, GROUP = REGISTRY.resource_types[:2]
NOW = "2026-01-01T00:00:00.000Z"
LATER = "2026-02-01T00:00:00.000Z"


def ready(adapter: StorageAdapter) -> StorageAdapter:
    """Return `adapter` as the contract takes it: complete, prepared, and with the ids of the tests."""
    completed = complete(adapter, REGISTRY.resource_types)
    completed.prepare(REGISTRY.resource_types)
    return OwnIds(completed) if completed.capabilities.assigns_ids else completed


def stored(resource_id: str, _created: str = NOW, **document: Any) -> StoredResource:
    """Return a resource as a caller hands it to an adapter; one with a userName is a user."""
    core = USER if "userName" in document else GROUP
    schemas = [core.schema.id, *(name for name in document if name.startswith("urn:"))]
    text = orjson.dumps({"schemas": schemas, "id": resource_id, **document}).decode()
    return StoredResource(resource_id, text, created=_created, last_modified=_created)


def represent(resource: StoredResource, links: bool) -> Mapping[str, Any]:
    meta = {"created": resource.created, "lastModified": resource.last_modified}
    return {**resource.document, "meta": meta}


def ids_matching(adapter: StorageAdapter, resource_type: ResourceType, text: str) -> list[str]:
    """Return the ids of the resources that match a filter; all totals agree with them."""
    node = resolve(parse_filter(text, max_length=20_000), resource_type)
    page = search(adapter, resource_type, Selection(node), represent)
    counted = search(adapter, resource_type, Selection(node, limit=0), represent)
    assert page.total == counted.total == len(page.resources)
    return [resource.id for resource in page.resources]


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Run `work` in threads at once, each with its number, and wait for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
