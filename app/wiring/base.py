"""One base: the resources of one store, and everything that serves them, put together from settings."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.configuration.settings import BaseSettings, SettingsError
from app.protocol.asynchronous import AsyncRequests
from app.protocol.bulk import BulkOperations
from app.protocol.commit import Commit
from app.protocol.completions import Completions
from app.protocol.cursors import Cursors
from app.protocol.decisions import Decisions
from app.protocol.import_commit import ImportCommit
from app.protocol.keys import Keys, Purpose
from app.protocol.mapping import AttributeMapping
from app.protocol.resources import Resources
from app.protocol.search import SearchLimits
from app.protocol.search_report import SlowSearches
from app.protocol.secrets import PlainSecrets, Secrets
from app.protocol.view import Predicate, Views
from app.wiring.access_tokens import access_token_problems
from app.wiring.credentials import AcceptedCredentials, open_credentials
from app.wiring.delivery import Delivery, open_delivery
from app.wiring.drivers import how_to_install
from app.wiring.guarding import open_guard
from schema.registry import Registry, load_registry
from storage.adapter import StorageAdapter
from storage.complete import complete, is_for_one_process
from storage.errors import StorageError, StorageReadOnly
from storage.hashing import Hasher
from storage.index_paths import EVERYTHING, USUAL
from storage.measured import Measured
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
    credentials: AcceptedCredentials


def open_base(settings: BaseSettings, predicate: Predicate | None = None) -> Base:
    """Return the base for `settings`, its storage prepared; `predicate` narrows what contexts see.

    Raises DefinitionError for schema files that cannot be used, SettingsError for attributes that
    do not exist, and StorageUnavailable when the storage cannot be prepared.
    """
    _say_settings(settings)
    registry = load_types(settings)
    adapter = open_adapter(settings, registry)
    _say_if_for_one_process(adapter, settings)
    adapter.prepare(registry.resource_types)
    _say_if_read_only(adapter)
    _say_hidden(adapter, registry)
    try:
        delivery = open_delivery(settings, registry, adapter)
    except ImportError as exc:
        raise SettingsError([f"STATE_DATABASE_URL: {how_to_install(exc.name or '')}"]) from exc
    cursors = Cursors(delivery.keys.cursors, settings.cursor_timeout, _now)
    slow = SlowSearches(settings.slow_filter_ms)
    limits = SearchLimits(settings.page_size, settings.max_filter_length, cursors, slow)
    views = Views(registry, adapter, settings.locations, limits, predicate)
    completions = Completions(registry, views, delivery.jobs, delivery.log, delivery.publishing)
    secrets = PlainSecrets() if adapter.capabilities.takes_secrets else Secrets(Hasher(settings))
    decisions = Decisions(
        registry, adapter.capabilities, settings.mappings, _now, secrets, delivery.needs_delta
    )
    guard = open_guard(settings, adapter, delivery)
    commit = Commit(adapter, delivery.notes, delivery.intents, completions, guard)
    resources = Resources(registry, views, decisions, commit, delivery.audit.reads)
    database = delivery.database if delivery.keeps_tokens else None
    credentials = open_credentials(settings, database, resources, delivery.audit.log)
    bulk = BulkOperations(resources, delivery.jobs)
    requests = None
    if settings.async_request != "none":
        requests = AsyncRequests(
            resources, bulk, delivery.jobs, completions, credentials.principal_now
        )
    imports = ImportCommit(adapter, delivery.notes)
    return Base(registry, adapter, delivery, resources, bulk, imports, requests, credentials)


def _now() -> datetime:
    return datetime.now(UTC)


def _say_if_for_one_process(adapter: StorageAdapter, settings: BaseSettings) -> None:
    if is_for_one_process(adapter):
        _LOG.warning(
            "the storage %s is for one process: run one server and, while it runs, no other command",
            settings.backend[0],
        )


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


def _say_hidden(adapter: StorageAdapter, registry: Registry) -> None:
    """Log how many entries of other programs are hidden."""
    try:
        counts = {one.name: adapter.count_hidden(one) for one in registry.resource_types}
    except StorageError as exc:
        _LOG.error("the hidden entries of other programs cannot be counted: %s", exc)
        return
    finally:
        adapter.close()
    if any(count != 0 for count in counts.values()):
        shown = ", ".join(f"{'?' if count is None else count} {name}" for name, count in counts.items())
        advice = "scim adopt adopts chosen entries"
        _LOG.warning("entries of other programs are hidden (FOREIGN_ENTRIES): %s; %s", shown, advice)


def open_adapter(settings: BaseSettings, registry: Registry) -> StorageAdapter:
    """Return the storage, complete and not yet prepared. Raises SettingsError."""
    keys = Keys([secret.encode() for secret in settings.secret_keys], {}).derived(Purpose.RESOURCES)
    name, options = settings.backend[0], replace(settings.backend[1], sealing_keys=keys)
    try:
        return complete(Measured(open_storage(name, options)), registry.resource_types)
    except ImportError as exc:
        raise SettingsError([f"the storage cannot be used: {how_to_install(exc.name or '')}"]) from exc
    except ValueError as exc:
        raise SettingsError([f"the storage cannot be used: {exc}"]) from exc


def _check_paths(settings: BaseSettings, registry: Registry) -> None:
    """Raise SettingsError for a setting that names an attribute nobody has."""
    problems = []
    for name in sorted((settings.indexed_attributes or frozenset()) - {EVERYTHING, USUAL}):
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
    problems += access_token_problems(settings, registry)
    if problems:
        raise SettingsError(problems)


def _say_settings(settings: BaseSettings) -> None:
    """Say what everybody should know about the settings."""
    _LOG.info("settings %s", settings.shown())
    for caution in settings.backend[1].cautions():
        _LOG.warning("%s", caution)
    publishing = settings.publishing
    signing = (publishing.key, *publishing.keys, *(receiver.key for receiver in publishing.receivers))
    for weakness in dict.fromkeys(key.weakness for key in signing if key and key.weakness):
        _LOG.warning("a key that signs SETs is short: %s", weakness)
    if not settings.api_key_enabled:
        _LOG.info("API_KEY_ENABLED is false: the server accepts no API key")
    elif not settings.api_key:
        _LOG.warning("API_KEY is empty: the server accepts no API key")
    elif DEFAULT_API_KEY in settings.api_key:
        _LOG.warning("API_KEY IS THE PUBLISHED DEFAULT: set another key before the server stores real data")
