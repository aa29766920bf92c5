"""The description of the API: /openapi.json, and Swagger UI at / with assets from a package."""

import importlib.resources
from typing import Any

from flask import Blueprint, Flask
from flask_smorest import Api

from app.messages import ErrorMessage
from app.settings import Settings

_ASSETS = "/docs/assets"

# The view that makes the page.
PAGE_VIEW = "api-docs.openapi_swagger_ui"


def openapi_config(settings: Settings) -> dict[str, Any]:
    """Return the flask-smorest configuration."""
    return {
        "API_TITLE": "SCIM",
        "API_VERSION": "2.0",
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
        # The page is shown at the root, which also answers searches.
        "OPENAPI_SWAGGER_UI_PATH": "docs",
        "OPENAPI_SWAGGER_UI_URL": f"{settings.base_path}{_ASSETS}/",
        # The validator badge would ask a server on the internet.
        "OPENAPI_SWAGGER_UI_CONFIG": {
            "validatorUrl": None,
            "persistAuthorization": True,
            "tryItOutEnabled": True,
        },
        "API_SPEC_OPTIONS": {
            "servers": [{"url": settings.base_path or "/"}],
            "info": {"description": "SCIM 2.0 service provider (RFC 7643, RFC 7644)."},
            "components": {
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                }
            },
            "security": [{"bearer": []}, {"apiKey": []}],
        },
    }


def make_api(app: Flask) -> Api:
    """Return the API of `app`; its page and its assets are served by `app` alone."""
    assets = str(importlib.resources.files("flask_swagger_ui") / "dist")
    app.register_blueprint(Blueprint("assets", __name__, static_folder=assets, static_url_path=_ASSETS))
    return _ScimApi(app)


class _ScimApi(Api):  # type: ignore[misc]
    ERROR_SCHEMA = ErrorMessage
