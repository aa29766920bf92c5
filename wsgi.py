"""The WSGI application, for any WSGI server: `wsgi:application`; and `celery -A wsgi.celery`."""

from typing import Any

from app import celery_of, configure_log, configure_tracing, create_app
from app.configuration.settings import Settings
from app.server.problems import GUNICORN_ENDS, problems_said

with problems_said(GUNICORN_ENDS):
    settings = Settings.from_env()
    configure_log(settings)
    configure_tracing(settings)
    application = create_app(settings)
# The server that loads this may fork afterwards.
application.extensions["scim.driver"].start_when_settled()


def __getattr__(name: str) -> Any:
    """Return `celery`, the Celery application. Raises SettingsError without CELERY_BROKER_URL."""
    if name == "celery":
        return celery_of(application)
    raise AttributeError(name)
