"""The WSGI application, for any WSGI server: `wsgi:application`."""

import os

from app import create_app
from app.settings import Settings

application = create_app(Settings.from_env(os.environ))
