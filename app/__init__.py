"""The service provider: settings in, WSGI application out."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from flask import Flask
from flask_smorest import Blueprint

from app.auth.limits import Turns
from app.configuration.settings import BaseSettings, Settings, SettingsError
from app.edge.access import Access
from app.edge.base_path import BasePath
from app.edge.blueprints.async_results import async_blueprint
from app.edge.blueprints.bulk import bulk_blueprint
from app.edge.blueprints.discovery import discovery_blueprint
from app.edge.blueprints.feeds import Feeds, feeds_blueprint
from app.edge.blueprints.health import health_blueprint
from app.edge.blueprints.keys import keys_blueprint
from app.edge.blueprints.me import me_blueprint
from app.edge.blueprints.metrics import StateFigures, metrics_blueprint
from app.edge.blueprints.resources import Endpoint, IdConverter, resource_blueprint
from app.edge.blueprints.search import search_blueprint
from app.edge.blueprints.streams import Reading, streams_blueprint
from app.edge.deferral import Deferral
from app.edge.description.table import operations_of
from app.edge.documentation import make_api, openapi_config
from app.edge.error_handlers import register_error_handlers
from app.edge.guard import Guard
from app.edge.messages import BodyLimits
from app.edge.reads import ReadEndpoint, Reads
from app.edge.remembered import RememberedCheck
from app.edge.request_body import install_whole_body
from app.edge.service import Service
from app.edge.waiting import Waiting
from app.edge.watching import Origin, Watch
from app.protocol.discovery import Discovery, Limits, SecurityEvents
from app.wiring.base import Base, open_base
from app.wiring.credentials import open_limits
from app.wiring.drivers import how_to_install
from app.wiring.log_levels import silence_drivers
from app.wiring.log_lines import JsonLines, TextLines
from app.wiring.pieces import pieces_of
from app.work.registry import Driver, Work
from app.work.threads import Threads
from set_delivery.deprovisions import DeprovisionTable
from storage.complete import is_for_one_process
from telemetry import tracing
from telemetry.lines import Values

_LOG = logging.getLogger(__name__)

# The resource type of the client behind /Me (RFC 7644 section 3.11).
_USER: Final = "User"


def create_app(settings: Settings) -> Flask:
    """Return the application for `settings`, its storage prepared.

    Two applications live in one process without knowing each other; what the process logs, and from
    which level on, is the choice of the program (`configure_log`). Raises DefinitionError for
    schema files that cannot be used, SettingsError for attributes that do not exist and for more
    processes than the storage takes, and StorageUnavailable when the storage cannot be prepared.
    """
    base = open_base(settings)
    if is_for_one_process(base.adapter):
        _refuse_processes(settings)
    return _assemble(settings, base)


def _refuse_processes(settings: Settings) -> None:
    reason = f"the storage {settings.backend[0]} is for one process"
    problems = [f"WORKERS: must be 1: {reason}"] if settings.workers > 1 else []
    if settings.celery_broker_url:
        problems.append(f"CELERY_BROKER_URL: must be unset: {reason}")
    if problems:
        raise SettingsError(problems)


def _assemble(settings: Settings, base: Base) -> Flask:
    app = Service(__name__, static_folder=None)
    app.config.update(openapi_config(settings))
    # A redirect would lose the body of a POST: both spellings are served.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = IdConverter
    guard = _guard_of(settings, base)
    guard.install(app)
    check_writable = RememberedCheck(base.adapter.check_writable)
    _register_blueprints(app, settings, base, check_writable)
    work = _work_of(base)
    checks: list[Callable[[], object]] = [base.adapter.check]
    if base.delivery.notes is not None or base.requests is not None:
        checks.append(base.delivery.check)
    driver = Driver()
    if settings.celery_broker_url:
        driver, check_broker = _use_celery(app, settings, work)
        checks.append(check_broker)
    elif settings.embedded_worker and work.pieces:
        driver = Threads(work)
    app.register_blueprint(health_blueprint(check_writable, *checks))
    register_error_handlers(app)
    # For programs that close its connections, or do its work.
    app.extensions["scim.base"] = base
    app.extensions["scim.storage"] = base.adapter
    app.extensions["scim.delivery"] = base.delivery
    app.extensions["scim.work"] = work
    app.extensions["scim.driver"] = driver
    reads = {r.endpoint.strip("/"): ReadEndpoint(r, base.resources) for r in base.registry.resource_types}
    app.wsgi_app = Reads(app.wsgi_app, reads, guard.context)  # type: ignore[method-assign]
    if settings.base_path:
        app.wsgi_app = BasePath(app.wsgi_app, settings.base_path)  # type: ignore[method-assign]
    install_whole_body(app)
    app.wsgi_app = _watched(app.wsgi_app, settings, base)  # type: ignore[method-assign]
    if isinstance(driver, Threads):
        # Also in processes that are forked from one that has loaded the application.
        app.wsgi_app = driver.started_by(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _watched(application: Any, settings: Settings, base: Base) -> Watch:
    return Watch(application, Origin(base.delivery.base, settings.proxy_count))


def _guard_of(settings: Settings, base: Base) -> Guard:
    access, limits = Access([r.name for r in base.registry.resource_types]), open_limits(settings)
    failed_logins = base.delivery.audit.failed_logins
    return Guard(base.credentials.chain, access, limits, failed_logins, settings.metrics_token)


def _register_blueprints(
    app: Flask, settings: Settings, base: Base, check_writable: Callable[[], object]
) -> None:
    resources, delivery = base.resources, base.delivery
    api = make_api(
        app,
        settings.base_path,
        lambda: operations_of(base.registry),
        has_default_key=base.credentials.has_default_key,
    )
    # Where a wait takes a thread, half of them may be taken; requests need the others.
    waiting = Waiting(max(1, settings.threads // 2), delivery.wakeups)
    deferral = Deferral(base.requests, settings.async_request, settings.locations, waiting)
    limits = BodyLimits(settings.max_body_size, settings.max_body_depth)
    types = base.registry.resource_types
    endpoints = {r.name: Endpoint(r, resources, deferral, limits) for r in types}
    of_bulk = replace(limits, size=settings.bulk_max_payload_size)
    blueprints = [
        *map(resource_blueprint, endpoints.values()),
        bulk_blueprint(
            base.bulk, deferral, of_bulk, settings.bulk_max_operations, Turns(settings.bulk_max_concurrent)
        ),
        search_blueprint(resources, limits),
        me_blueprint(endpoints.get(_USER)),
        async_blueprint(base.requests, delivery.publishing),
        *_event_blueprints(settings, base, waiting),
        metrics_blueprint(_state_figures(settings, base, check_writable)),
        discovery_blueprint(_discovery(settings, base)),
    ]
    for blueprint in blueprints:
        api.register_blueprint(blueprint)


def _event_blueprints(settings: Settings, base: Base, waiting: Waiting) -> Iterator[Blueprint]:
    delivery = base.delivery
    feeds = Feeds(delivery, base.resources)
    reading = Reading(delivery, settings.set_poll_wait, waiting)
    size, depth = settings.page_size, settings.max_body_depth
    yield feeds_blueprint(feeds, size)
    yield streams_blueprint(feeds, reading, page_size=size, max_depth=depth)
    yield keys_blueprint(delivery.publishing)


def _state_figures(
    settings: BaseSettings, base: Base, check_writable: Callable[[], object]
) -> StateFigures:
    delivery = base.delivery
    return StateFigures(
        delivery.inventory,
        check_writable,
        base.requests.jobs if base.requests is not None else None,
        has_events=delivery.publishing.is_on,
        has_log=delivery.keeps_history,
        has_default_key=base.credentials.has_default_key,
        guard=DeprovisionTable(delivery.database) if settings.deprovision_limit else None,
        export=delivery.audit.export,
    )


def _discovery(settings: BaseSettings, base: Base) -> Discovery:
    return Discovery(
        base.registry,
        prefix=settings.locations.prefix("default"),
        limits=Limits(
            settings.page_size,
            settings.bulk_max_operations,
            settings.bulk_max_payload_size,
            settings.cursor_timeout,
        ),
        schemes=base.credentials.schemes,
        events=SecurityEvents(base.delivery.publishing, settings.async_request),
    )


def _work_of(base: Base) -> Work:
    delivery = base.delivery
    pieces = pieces_of(delivery, base.requests, base.adapter)
    return Work(delivery.base, pieces, delivery.wakeups, delivery.database.close)


def _use_celery(app: Flask, settings: Settings, work: Work) -> tuple[Driver, Callable[[], object]]:
    """Leave the work to Celery; return the driver and the check of the broker. Raises SettingsError."""
    try:
        # Celery is an extra, and its import takes long: only an application with a broker needs it.
        from app.work.celery import make_celery

        celery, messages, broker = make_celery(
            settings.celery_broker_url, work, lambda: create_app(settings).extensions["scim.work"]
        )
    except ImportError as exc:
        raise SettingsError([f"CELERY_BROKER_URL: {how_to_install('celery')}"]) from exc
    work.wakeups.forward = messages.forward
    app.extensions["scim.celery"] = celery
    return messages, broker.check


def celery_of(app: Flask) -> Any:
    """Return the Celery application that does the work of `app`. Raises SettingsError."""
    if "scim.celery" not in app.extensions:
        raise SettingsError(["CELERY_BROKER_URL: is required to run Celery"])
    return app.extensions["scim.celery"]


def configure_tracing(settings: Settings) -> None:
    """Send traces if TRACING says so: for the program of a process, once. Raises SettingsError."""
    if settings.tracing:
        try:
            tracing.export_spans()
        except ImportError as exc:
            raise SettingsError([f"TRACING: {how_to_install('opentelemetry')}"]) from exc


def configure_log(settings: Settings) -> None:
    """Log to standard error from LOGLEVEL on, as LOG_FORMAT says: for the program of a process, once."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(handlers=[handler])
    logging.getLogger().setLevel(settings.loglevel)
    Values.are_shown = settings.log_values
    # No line of ours shows the thread: looking it up takes time. Those of gunicorn show the process.
    logging.logThreads = False
    silence_drivers(logging.getLogger().level, settings.backends.values())
