"""The service provider: settings in, WSGI application out."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SessionInterface, SessionMixin

from app.auth import Authenticator
from app.base_path import BasePath
from app.blueprints.async_results import async_blueprint
from app.blueprints.bulk import bulk_blueprint
from app.blueprints.discovery import discovery_blueprint
from app.blueprints.feeds import feeds_blueprint, keys_blueprint
from app.blueprints.health import health_blueprint
from app.blueprints.me import me_blueprint
from app.blueprints.metrics import metrics_blueprint
from app.blueprints.resources import IdConverter, resource_blueprint
from app.blueprints.search import search_blueprint
from app.deferral import Deferral
from app.delivery import Delivery, open_delivery
from app.description.table import operations_of
from app.documentation import make_api, openapi_config
from app.drivers import how_to_install
from app.error_handlers import register_error_handlers
from app.guard import protect
from app.log_levels import silence_drivers
from app.messages import BodyLimits
from app.protocol.asynchronous import AsyncRequests
from app.protocol.bulk import BulkOperations
from app.protocol.cursors import Cursors
from app.protocol.discovery import Discovery, Limits, SecurityEvents
from app.protocol.mapping import AttributeMapping
from app.protocol.representation import Representation
from app.protocol.resources import ResourceOperations
from app.protocol.search import Searcher
from app.remembered import RememberedCheck
from app.request_body import install_whole_body
from app.request_log import install_request_log
from app.setting_groups.server import DEFAULT_API_KEY
from app.settings import Settings, SettingsError
from app.worker import StartsWorker, Worker
from schema.registry import Registry, load_registry
from storage.adapter import StorageAdapter
from storage.complete import complete
from storage.errors import StorageError, StorageReadOnly
from storage.registry import open_storage

_LOG = logging.getLogger(__name__)


class _NoSession(SessionInterface):
    """There are no sessions: every request carries its credentials."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        return SecureCookieSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        return None


def create_app(settings: Settings) -> Flask:
    """Return the application for `settings`, its storage prepared.

    Two applications live in one process without knowing each other; what the process logs, and from
    which level on, is the choice of the program (`configure_log`). Raises DefinitionError for
    schema files that cannot be used, SettingsError for attributes that do not exist, and
    StorageUnavailable when the storage cannot be prepared.
    """
    operations, adapter, delivery = make_operations(settings)
    registry, representation = operations.registry, operations.representation
    searcher = Searcher(
        registry,
        adapter,
        representation,
        Cursors(_cursor_key(settings), settings.cursor_timeout, lambda: datetime.now(UTC)),
        page_size=settings.page_size,
        max_filter_length=settings.max_filter_length,
    )
    discovery = Discovery(
        registry,
        prefix=settings.location_prefix,
        limits=Limits(
            settings.page_size,
            settings.bulk_max_operations,
            settings.bulk_max_payload_size,
            settings.cursor_timeout,
        ),
        events=SecurityEvents(delivery.publishing, settings.async_request),
    )
    bulk = BulkOperations(registry, adapter, operations, representation, delivery.recorder)
    requests = None
    if settings.async_request != "none":
        requests = AsyncRequests(
            *(registry, adapter, operations, bulk, delivery.jobs, delivery.recorder, delivery.publishing)
        )
    return _assemble(settings, operations, searcher, bulk, discovery, adapter, delivery, requests)


def make_operations(settings: Settings) -> tuple[ResourceOperations, StorageAdapter, Delivery]:
    """Return the operations on resources, the prepared storage under them, and how events leave.

    Raises as `create_app`.
    """
    _say_settings(settings)
    registry = load_types(settings)
    adapter = complete(_open_storage(settings), registry.resource_types)
    adapter.prepare(registry.resource_types)
    _say_if_read_only(adapter)
    representation = Representation(registry, adapter, settings.location_prefix)
    try:
        delivery = open_delivery(settings, registry, adapter, representation)
    except ImportError as exc:
        raise SettingsError([f"STATE_DATABASE_URL: {how_to_install(exc.name or '')}"]) from exc
    operations = ResourceOperations(
        *(registry, adapter, representation), mappings=settings.mappings, recorder=delivery.recorder
    )
    return operations, adapter, delivery


def load_types(settings: Settings) -> Registry:
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


class _Service(Flask):
    """Flask without what a service provider has no use for, which would cost every request."""

    session_interface = _NoSession()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No view is a coroutine; looking whether one is takes longer than finding the view.
        return func


def _assemble(
    settings: Settings,
    operations: ResourceOperations,
    searcher: Searcher,
    bulk: BulkOperations,
    discovery: Discovery,
    adapter: StorageAdapter,
    delivery: Delivery,
    requests: AsyncRequests | None,
) -> Flask:
    app = _Service(__name__, static_folder=None)
    app.config.update(openapi_config(settings))
    # A redirect would lose the body of a POST: both spellings are served.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = IdConverter
    api = make_api(app, settings.base_path, lambda: operations_of(operations.registry))
    authenticator = Authenticator(settings.api_key, settings.profile)
    # Half of the threads may be held by who waits for something; requests need the others.
    places = BoundedSemaphore(max(1, settings.threads // 2))
    deferral = Deferral(requests, settings.async_request, settings.location_prefix, places)
    limits = BodyLimits(settings.max_body_size, settings.max_body_depth)
    for resource_type in operations.registry.resource_types:
        blueprint = resource_blueprint(
            resource_type, operations, searcher, deferral, limits
        )
        protect(blueprint, authenticator)
        api.register_blueprint(blueprint)
    bulk_view = bulk_blueprint(
        bulk,
        deferral,
        replace(limits, size=settings.bulk_max_payload_size),
        max_operations=settings.bulk_max_operations,
    )
    for blueprint in (bulk_view, me_blueprint(), async_blueprint(requests, delivery.publishing)):
        protect(blueprint, authenticator)
        api.register_blueprint(blueprint)
    feeds = feeds_blueprint(
        delivery,
        operations,
        adapter,
        page_size=settings.page_size,
        wait_s=settings.set_poll_wait,
        max_depth=settings.max_body_depth,
        places=places,
    )
    check_writable = RememberedCheck(adapter.check_writable)
    metrics = metrics_blueprint(
        delivery.inventory,
        check_writable,
        operations.ignored_paths,
        is_on=delivery.publishing.is_on,
    )
    for blueprint in (feeds, metrics):
        protect(blueprint, authenticator)
        api.register_blueprint(blueprint)
    api.register_blueprint(keys_blueprint(delivery.publishing))
    api.register_blueprint(search_blueprint(searcher, authenticator, limits))
    api.register_blueprint(discovery_blueprint(discovery))
    worker = Worker(delivery, requests)
    checks: list[Callable[[], object]] = [adapter.check]
    if worker.pieces:
        checks.append(delivery.check)
    if settings.celery_broker_url:
        checks.append(_use_celery(app, settings, delivery, worker))
    api.register_blueprint(health_blueprint(check_writable, *checks))
    register_error_handlers(app)
    # For whoever has to give back its connections, or to do its work.
    app.extensions["scim.storage"] = adapter
    app.extensions["scim.delivery"] = delivery
    app.extensions["scim.worker"] = worker
    if settings.base_path:
        app.wsgi_app = BasePath(app.wsgi_app, settings.base_path)  # type: ignore[method-assign]
    install_whole_body(app)
    install_request_log(app)
    if settings.embedded_worker and not settings.celery_broker_url and worker.pieces:
        # Also where processes are forked from one that has loaded the application.
        app.wsgi_app = StartsWorker(app.wsgi_app, worker)  # type: ignore[method-assign]
        app.extensions["scim.embedded"] = worker
    return app


def _use_celery(
    app: Flask, settings: Settings, delivery: Delivery, worker: Worker
) -> Callable[[], object]:
    """Leave the work to the workers of Celery, and return what checks the broker. Raises SettingsError."""
    try:
        # Celery is an extra, and takes its time: only who has a broker needs it.
        from app.broker import WakeUps, check_broker
        from app.tasks import make_celery, send_wake_up

        celery = make_celery(
            settings.celery_broker_url, worker, lambda: create_app(settings).extensions["scim.worker"]
        )
    except ImportError as exc:
        raise SettingsError([f"CELERY_BROKER_URL: {how_to_install('celery')}"]) from exc
    wake_ups = WakeUps(celery, partial(send_wake_up, celery))
    delivery.bell.answer = lambda what: wake_ups.ring()
    app.extensions["scim.celery"] = celery
    app.extensions["scim.wake_ups"] = wake_ups
    return partial(check_broker, celery)


def celery_of(app: Flask) -> Any:
    """Return the Celery application that does the work of `app`. Raises SettingsError."""
    if "scim.celery" not in app.extensions:
        raise SettingsError(["CELERY_BROKER_URL: is required to run Celery"])
    return app.extensions["scim.celery"]


def start_worker(app: Flask) -> None:
    """Start what this process does beside requests, once it is sure to be the one that serves them.

    What was left undone before a restart does not have to wait for the first request.
    """
    if "scim.embedded" in app.extensions:
        app.extensions["scim.embedded"].ensure_started()


def _cursor_key(settings: Settings) -> bytes:
    # The same in every process and after every restart, and known to nobody who has no key at all.
    return hashlib.sha256("\0".join(("cursor 2", *sorted(settings.api_key))).encode()).digest()


def _open_storage(settings: Settings) -> StorageAdapter:
    try:
        return open_storage(*settings.storage)
    except ImportError as exc:
        raise SettingsError([f"the storage cannot be used: {how_to_install(exc.name or '')}"]) from exc
    except ValueError as exc:
        raise SettingsError([f"the storage cannot be used: {exc}"]) from exc


def _check_paths(settings: Settings, registry: Registry) -> None:
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


def configure_log(settings: Settings) -> None:
    """Log to standard error from LOGLEVEL on: for the program that a process runs, once."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger().setLevel(settings.loglevel)
    silence_drivers(logging.getLogger().level)


def _say_settings(settings: Settings) -> None:
    """Say what everybody should know about the settings."""
    _LOG.info("settings %s", settings.shown())
    if not settings.api_key:
        _LOG.warning("API_KEY is empty: the server refuses every request that needs credentials")
    elif DEFAULT_API_KEY in settings.api_key:
        _LOG.warning("API_KEY IS THE PUBLISHED DEFAULT: set another key before the server stores real data")
