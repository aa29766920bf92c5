"""What the service provider says of itself (RFC 7643 sections 5 to 7, RFC 7644 section 4)."""

from dataclasses import dataclass
from typing import Any

from schema import urns
from schema.registry import Registry
from schema.resource_type import ResourceType, Schema


@dataclass(frozen=True)
class Limits:
    """What one request may hold: resources, operations, bytes; the cursor time-out is in seconds."""

    page_size: int
    bulk_operations: int
    bulk_payload_size: int
    cursor_timeout: int


class Discovery:
    """The documents of the discovery endpoints; `prefix` precedes the path in every location."""

    def __init__(self, registry: Registry, *, prefix: str, limits: Limits) -> None:
        self._prefix = prefix
        self._limits = limits
        self.schemas = {schema.id.lower(): self._schema(schema) for schema in registry.schemas}
        self.resource_types = {r.name.lower(): self._resource_type(r) for r in registry.resource_types}

    def service_provider_config(self) -> dict[str, Any]:
        """Return what is supported; every attribute of RFC 7643 section 5 is there.

        Clients switch off what they do not find.
        """
        return {
            "schemas": [urns.SERVICE_PROVIDER_CONFIG],
            "documentationUri": "https://www.rfc-editor.org/rfc/rfc7644",
            "patch": {"supported": True},
            "bulk": {
                "supported": True,
                "maxOperations": self._limits.bulk_operations,
                "maxPayloadSize": self._limits.bulk_payload_size,
            },
            "filter": {"supported": True, "maxResults": self._limits.page_size},
            "changePassword": {"supported": True},
            "sort": {"supported": True},
            "etag": {"supported": True},
            "pagination": {
                "cursor": True,
                "index": True,
                "defaultPaginationMethod": "index",
                "defaultPageSize": self._limits.page_size,
                "maxPageSize": self._limits.page_size,
                "cursorTimeout": self._limits.cursor_timeout,
            },
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "OAuth Bearer Token",
                    "description": "The API key as bearer token: `Authorization: Bearer <key>`, "
                    "or as the header `x-api-key: <key>`.",
                    "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
                    "documentationUri": "https://www.rfc-editor.org/rfc/rfc7644#section-2",
                    "primary": True,
                }
            ],
            "meta": self._meta("ServiceProviderConfig", "/ServiceProviderConfig"),
        }

    def _schema(self, schema: Schema) -> dict[str, Any]:
        return {
            "schemas": [urns.SCHEMA],
            "id": schema.id,
            "name": schema.name,
            "description": schema.description,
            "attributes": [attribute.as_json() for attribute in schema.attributes],
            "meta": self._meta("Schema", f"/Schemas/{schema.id}"),
        }

    def _resource_type(self, resource_type: ResourceType) -> dict[str, Any]:
        return {
            "schemas": [urns.RESOURCE_TYPE],
            "id": resource_type.name,
            "name": resource_type.name,
            "description": resource_type.description,
            "endpoint": resource_type.endpoint,
            "schema": resource_type.schema.id,
            "schemaExtensions": [
                {"schema": extension.schema.id, "required": extension.required}
                for extension in resource_type.extensions
            ],
            "meta": self._meta("ResourceType", f"/ResourceTypes/{resource_type.name}"),
        }

    def _meta(self, resource_type: str, path: str) -> dict[str, str]:
        return {"resourceType": resource_type, "location": self._prefix + path}
