"""The processes: the web server of `scim serve`, and the end of a program that cannot start.

gunicorn and waitress are imported only here. `app.cli`, the commands and `wsgi.py` import this package;
no other package does.
"""
