"""The service provider: settings in, WSGI application out."""

import logging
from collections.abc import Callable
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface

from app.configuration.settings import BaseSettings, Settings, SettingsError
from app.edge.base_path import BasePath
from app.edge.blueprints.async_results import async_blueprint
from app.edge.blueprints.bulk import bulk_blueprint
from app.edge.blueprints.discovery import discovery_blueprint
from app.edge.blueprints.feeds import Feeds, feeds_blueprint
from app.edge.blueprints.health import health_blueprint
from app.edge.blueprints.keys import keys_blueprint
from app.edge.blueprints.me import me_blueprint
from app.edge.blueprints.metrics import metrics_blueprint
from app.edge.blueprints.resources import IdConverter, resource_blueprint
from app.edge.blueprints.search import search_blueprint
from app.edge.blueprints.streams import Reading, streams_blueprint
from app.edge.deferral import Deferral
from app.edge.description.table import operations_of
from app.edge.documentation import make_api, openapi_config
from app.edge.error_handlers import register_error_handlers
from app.edge.guard import install_guard
from app.edge.messages import BodyLimits
from app.edge.remembered import RememberedCheck
from app.edge.request_body import install_whole_body
from app.edge.request_log import install_request_log
from app.protocol.authentication import Authenticator
from app.protocol.discovery import Discovery, Limits, SecurityEvents
from app.wiring.base import Base, open_base
from app.wiring.drivers import how_to_install
from app.wiring.log_levels import silence_drivers
from app.wiring.pieces import pieces_of
from app.work.registry import Driver, Work
from app.work.threads import Threads
from storage.complete import is_for_one_process

_LOG = logging.getLogger(__name__)


class _NoSession(SessionInterface):
    """There are no sessions: every request carries its credentials. A null session is never saved."""

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return NullSession()


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


class _Service(Flask):
    """Flask without what a service provider has no use for, which would cost every request."""

    session_interface = _NoSession()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No view is a coroutine; looking whether one is takes longer than finding the view.
        return func


def _assemble(settings: Settings, base: Base) -> Flask:
    app = _Service(__name__, static_folder=None)
    app.config.update(openapi_config(settings))
    # A redirect would lose the body of a POST: both spellings are served.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["id"] = IdConverter
    install_guard(app, Authenticator(settings.api_key, settings.profile))
    check_writable = RememberedCheck(base.adapter.check_writable)
    _register_blueprints(app, settings, base, check_writable)
    work = _work_of(base)
    checks: list[Callable[[], object]] = [base.adapter.check]
    if work.pieces:
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
    if settings.base_path:
        app.wsgi_app = BasePath(app.wsgi_app, settings.base_path)  # type: ignore[method-assign]
    install_whole_body(app)
    install_request_log(app)
    if isinstance(driver, Threads):
        # Also in processes that are forked from one that has loaded the application.
        app.wsgi_app = driver.started_by(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _register_blueprints(
    app: Flask, settings: Settings, base: Base, check_writable: Callable[[], object]
) -> None:
    resources, delivery = base.resources, base.delivery
    api = make_api(app, settings.base_path, lambda: operations_of(base.registry))
    # Half of the threads may be held by who waits for something; requests need the others.
    places = BoundedSemaphore(max(1, settings.threads // 2))
    deferral = Deferral(
        base.requests, settings.async_request, settings.location_prefix, places, delivery.wakeups
    )
    limits = BodyLimits(settings.max_body_size, settings.max_body_depth)
    feeds = Feeds(delivery, resources)
    reading = Reading(delivery, settings.set_poll_wait, places)
    of_bulk = replace(limits, size=settings.bulk_max_payload_size)
    blueprints = [
        *(resource_blueprint(r, resources, deferral, limits) for r in base.registry.resource_types),
        bulk_blueprint(base.bulk, deferral, of_bulk, max_operations=settings.bulk_max_operations),
        search_blueprint(resources, limits),
        me_blueprint(),
        async_blueprint(base.requests, delivery.publishing),
        feeds_blueprint(feeds, settings.page_size),
        streams_blueprint(
            feeds, reading, page_size=settings.page_size, max_depth=settings.max_body_depth
        ),
        metrics_blueprint(
            delivery.inventory,
            check_writable,
            resources.ignored_paths,
            is_on=delivery.publishing.is_on,
            keeps_history=delivery.keeps_history,
        ),
        keys_blueprint(delivery.publishing),
        discovery_blueprint(_discovery(settings, base)),
    ]
    for blueprint in blueprints:
        api.register_blueprint(blueprint)


def _discovery(settings: BaseSettings, base: Base) -> Discovery:
    return Discovery(
        base.registry,
        prefix=settings.location_prefix,
        limits=Limits(
            settings.page_size,
            settings.bulk_max_operations,
            settings.bulk_max_payload_size,
            settings.cursor_timeout,
        ),
        events=SecurityEvents(base.delivery.publishing, settings.async_request),
    )


def _work_of(base: Base) -> Work:
    delivery = base.delivery
    pieces = pieces_of(delivery, base.requests)
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


def configure_log(settings: Settings) -> None:
    """Log to standard error from LOGLEVEL on: for the program that a process runs, once."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger().setLevel(settings.loglevel)
    silence_drivers(logging.getLogger().level, settings.backends.values())
