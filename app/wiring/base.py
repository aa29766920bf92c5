"""One base: the resources of one store, and everything that serves them, put together from settings."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from app.configuration.settings import BaseSettings, SettingsError
from app.protocol.asynchronous import AsyncRequests
from app.protocol.bulk import BulkOperations
from app.protocol.commit import Commit
from app.protocol.completions import Completions
from app.protocol.cursors import Cursors
from app.protocol.decisions import Decisions
from app.protocol.import_commit import ImportCommit
from app.protocol.mapping import AttributeMapping
from app.protocol.resources import Resources
from app.protocol.search import SearchLimits
from app.protocol.view import Predicate, Views
from app.wiring.delivery import Delivery, open_delivery
from app.wiring.drivers import how_to_install
from schema.registry import Registry, load_registry
from storage.adapter import StorageAdapter
from storage.complete import complete, is_for_one_process
from storage.errors import StorageError, StorageReadOnly
from storage.registry import open_storage
from storage.shared_options import DEFAULT_API_KEY

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """The parts that serve one store; `requests` are None where none is carried out later."""

    registry: Registry
    adapter: StorageAdapter
    delivery: Delivery
    resources: Resources
    bulk: BulkOperations
    imports: ImportCommit
    requests: AsyncRequests | None


def open_base(settings: BaseSettings, predicate: Predicate | None = None) -> Base:
    """Return the base for `settings`, its storage prepared; `predicate` narrows what contexts see.

    Raises DefinitionError for schema files that cannot be used, SettingsError for attributes that
    do not exist, and StorageUnavailable when the storage cannot be prepared.
    """
    _say_settings(settings)
    registry = load_types(settings)
    adapter = open_adapter(settings, registry)
    if is_for_one_process(adapter):
        _LOG.warning(
            "the storage %s is for one process: run one server and, while it runs, no other command",
            settings.backend[0],
        )
    adapter.prepare(registry.resource_types)
    _say_if_read_only(adapter)
    try:
        delivery = open_delivery(settings, registry, adapter)
    except ImportError as exc:
        raise SettingsError([f"STATE_DATABASE_URL: {how_to_install(exc.name or '')}"]) from exc
    cursors = Cursors(delivery.keys.cursors, settings.cursor_timeout, lambda: datetime.now(UTC))
    limits = SearchLimits(settings.page_size, settings.max_filter_length, cursors)
    views = Views(registry, adapter, settings.location_prefix, limits, predicate)
    completions = Completions(registry, views, delivery.jobs, delivery.log, delivery.publishing)
    decisions = Decisions(
        registry,
        adapter.capabilities,
        settings.mappings,
        lambda: datetime.now(UTC),
        needs_delta=delivery.needs_delta,
    )
    commit = Commit(adapter, delivery.notes, delivery.intents, completions)
    resources = Resources(registry, views, decisions, commit)
    bulk = BulkOperations(resources, delivery.jobs)
    requests = None
    if settings.async_request != "none":
        requests = AsyncRequests(resources, bulk, delivery.jobs, completions)
    imports = ImportCommit(adapter, delivery.notes)
    return Base(registry, adapter, delivery, resources, bulk, imports, requests)


def load_types(settings: BaseSettings) -> Registry:
    """Return the resource types. Raises DefinitionError, and SettingsError for attributes that nobody has."""
    registry = load_registry(settings.schema_path, unique_external_id=settings.unique_external_id)
    _check_paths(settings, registry)
    return registry


def _say_if_read_only(adapter: StorageAdapter) -> None:
    """Log that the storage takes no changes, and why."""
    if not adapter.capabilities.asked_at_start:
        return
    try:
        adapter.check_writable()
    except StorageReadOnly as exc:
        _LOG.warning("the storage is read-only; the server answers changes with 403: %s", exc)
    except StorageError as exc:
        _LOG.error("THE STORAGE CANNOT BE WRITTEN; the server answers changes with 503: %s", exc)
    finally:
        # Connections do not survive a fork, and this may happen before one.
        adapter.close()


def open_adapter(settings: BaseSettings, registry: Registry) -> StorageAdapter:
    """Return the storage, complete and not yet prepared. Raises SettingsError."""
    try:
        return complete(open_storage(*settings.backend), registry.resource_types)
    except ImportError as exc:
        raise SettingsError([f"the storage cannot be used: {how_to_install(exc.name or '')}"]) from exc
    except ValueError as exc:
        raise SettingsError([f"the storage cannot be used: {exc}"]) from exc


def _check_paths(settings: BaseSettings, registry: Registry) -> None:
    """Raise SettingsError for a setting that names an attribute nobody has."""
    problems = []
    for name in sorted(settings.indexed_attributes or ()):
        if not any(resource_type.path(name) for resource_type in registry.resource_types):
            problems.append(f"INDEXED_ATTRIBUTES: no resource type has the attribute {name}")
    for name, sources in settings.mappings.items():
        resource_type = registry.resource_type(name)
        if resource_type is None:
            continue
        try:
            AttributeMapping(resource_type, sources)
        except ValueError as exc:
            problems.append(f"{name.upper()}_MAPPING: {exc}")
    if problems:
        raise SettingsError(problems)


def _say_settings(settings: BaseSettings) -> None:
    """Say what everybody should know about the settings."""
    _LOG.info("settings %s", settings.shown())
    if not settings.api_key:
        _LOG.warning("API_KEY is empty: the server refuses every request that needs credentials")
    elif DEFAULT_API_KEY in settings.api_key:
        _LOG.warning("API_KEY IS THE PUBLISHED DEFAULT: set another key before the server stores real data")
