"""HTTP: from a request to a call of `app.protocol`, and from its result or error to a response.

A module that needs Flask belongs here: Flask is imported only in this package and in `app/__init__.py`.
`app.create_app` and `app.server` import this package; `app.wiring` and the packages below it do not.
"""
