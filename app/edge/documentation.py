"""The description of the API: /openapi.json, and Swagger UI at / with assets from a package."""

import importlib.resources
import json
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, Final

import orjson
from apispec import BasePlugin
from flask import Blueprint, Flask
from flask_smorest import Api

from app.configuration.settings import BaseSettings
from app.edge.description.document import describe
from app.edge.description.operation import Operation
from app.edge.responses import Response

_ASSETS: Final = "/docs/assets"
_START: Final = "/docs/start.js"
# The view that makes the page, which is shown at the root as well.
PAGE_VIEW: Final = "docs.page"

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>SCIM</title>
    <link rel="stylesheet" href="{assets}/swagger-ui.css">
    <link rel="icon" href="{assets}/favicon-32x32.png">
  </head>
  <body>
    {warning}<div id="swagger-ui"></div>
    <script src="{assets}/swagger-ui-bundle.js"></script>
    <script src="{start}"></script>
  </body>
</html>
"""
_CREDENTIALS: Final = "An API key, which has all scopes, or a named token, which has its own."
_WARNING: Final = """<p role="alert"><strong>Warning: this server accepts the published default API key.
    Everybody can read and change its data. Set API_KEY, or API_KEY_ENABLED=false.</strong></p>
    """
# The API key is typed into this page: it runs no script and asks no server but this one's, and no
# other page can frame it. Swagger UI brings its arrows as data.
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


def openapi_config(settings: BaseSettings) -> dict[str, Any]:
    """Return the flask-smorest configuration."""
    return {
        "API_TITLE": "SCIM",
        "API_VERSION": "2.0",
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
        "API_SPEC_OPTIONS": {
            "servers": [{"url": settings.base_path or "/"}],
            "info": {"description": "SCIM 2.0 service provider (RFC 7643, RFC 7644)."},
            "components": {
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": _CREDENTIALS},
                    "apiKey": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "x-api-key",
                        "description": _CREDENTIALS,
                    },
                }
            },
        },
    }


def make_api(
    app: Flask,
    base_path: str,
    operations: Callable[[], Iterable[Operation]],
    *,
    has_default_key: bool,
) -> Api:
    """Return the API of `app`; its page and its assets are served by `app` alone, below `base_path`.

    `operations` returns what /openapi.json describes. It is called when a client first asks for that.
    With `has_default_key` the page warns of the published default of API_KEY.
    """
    assets = str(importlib.resources.files("flask_swagger_ui") / "dist")
    app.register_blueprint(Blueprint("assets", __name__, static_folder=assets, static_url_path=_ASSETS))
    app.register_blueprint(_page_blueprint(base_path, _WARNING if has_default_key else ""))
    # The paths come from the table of operations, not from the routes.
    return _ScimApi(app, operations)


class _ScimApi(Api):  # type: ignore[misc]
    """Makes the description when it is asked for: that takes longer than the rest of the start."""

    def __init__(self, app: Flask, operations: Callable[[], Iterable[Operation]]) -> None:
        self._operations = operations
        self._making = Lock()
        self._document: bytes | None = None
        super().__init__(app, spec_kwargs={"flask_plugin": BasePlugin()})

    def _openapi_json(self) -> Response:
        with self._making:
            if self._document is None:
                describe(self.spec, self._operations())
                self._document = orjson.dumps(self.spec.to_dict(), option=orjson.OPT_INDENT_2)
        return Response(self._document, content_type="application/json")

    def _register_responses(self) -> None:
        """Leave out the answers that flask-smorest describes by itself: none of them is of this API."""

    def register_blueprint(self, blueprint: Blueprint, **options: Any) -> None:
        """Serve a blueprint; `app.edge.description` describes it."""
        self._app.register_blueprint(blueprint, **options)


def _page_blueprint(base_path: str, warning: str) -> Blueprint:
    blueprint = Blueprint("docs", __name__)
    page = _PAGE.format(assets=base_path + _ASSETS, start=base_path + _START, warning=warning)
    options = {
        "url": f"{base_path}/openapi.json",
        "dom_id": "#swagger-ui",
        # The badge would ask a server on the internet.
        "validatorUrl": None,
        "persistAuthorization": True,
        "tryItOutEnabled": True,
    }
    start = f"window.ui = SwaggerUIBundle({json.dumps(options)});\n"

    @blueprint.route("/docs", endpoint="page")
    def show() -> Response:
        return Response(page, headers=_PAGE_HEADERS, content_type="text/html; charset=utf-8")

    @blueprint.route(_START, endpoint="start")
    def start_page() -> Response:
        return Response(start, content_type="text/javascript; charset=utf-8")

    return blueprint
