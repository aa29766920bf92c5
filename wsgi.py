"""The WSGI application, for any WSGI server: `wsgi:application`."""

from app import create_app
from app.settings import Settings

application = create_app(Settings.from_env())
