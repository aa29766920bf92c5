"""What the service provider says of itself (RFC 7643 sections 5 to 7, RFC 7644 section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schema import urns
from schema.registry import Registry
from schema.resource_type import AttributePath, ResourceType, Schema
from set_delivery.events import (
    ACTIVATE,
    ASYNC_RESPONSE,
    CREATE,
    DEACTIVATE,
    DELETE,
    FEED_ADD,
    FEED_REMOVE,
    MODES,
    PATCH,
    PUT,
)
from set_delivery.streams import Publishing


@dataclass(frozen=True)
class Limits:
    """What one request may hold: resources, operations, bytes; the cursor time-out is in seconds."""

    page_size: int
    bulk_operations: int
    bulk_payload_size: int
    cursor_timeout: int


@dataclass(frozen=True)
class SecurityEvents:
    """What is said of events (RFC 9967 section 4); `async_request` is none, request or long."""

    publishing: Publishing
    async_request: str = "none"

    @property
    def is_on(self) -> bool:
        """Whether there is anything to be said."""
        return self.publishing.is_on or self.async_request != "none"

    def as_json(self) -> dict[str, Any]:
        """Return the attribute `securityEvents`; `feeds` is for clients of HarryKodden/scim."""
        publishing = self.publishing
        modes = {publishing.mode, *(receiver.mode for receiver in publishing.receivers)}
        uris: list[str] = []
        if publishing.is_on:
            for kind in (CREATE, PUT, PATCH):
                # What would be too large goes out as a notice.
                uris += [f"{kind}:{mode}" for mode in MODES if mode in modes or mode == "notice"]
            uris += [DELETE, ACTIVATE, DEACTIVATE]
            if publishing.groups_are_feeds and publishing.membership_events:
                uris += [FEED_ADD, FEED_REMOVE]
        if self.async_request != "none":
            # Also where nobody receives events: the result can be fetched as one.
            uris.append(ASYNC_RESPONSE)
        feeds = [publishing.url_of(feed.id) for feed in publishing.feeds]
        shown = {"feeds": feeds} if publishing.is_on else {}
        return {"asyncRequest": self.async_request, "eventUris": uris, **shown}


class Discovery:
    """The documents of the discovery endpoints; `prefix` precedes the path in every location.

    `schemes` describe the kinds of credentials that are accepted, as authenticationSchemes.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        prefix: str,
        limits: Limits,
        schemes: Sequence[Mapping[str, Any]],
        events: SecurityEvents,
    ) -> None:
        self._prefix = prefix
        self._limits = limits
        self._schemes = schemes
        self._events = events
        external_ids = {r.schema.id: r.path("externalId") for r in registry.resource_types}
        self.schemas = {
            schema.id.lower(): self._schema(schema, external_ids.get(schema.id))
            for schema in registry.schemas
        }
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
            "authenticationSchemes": list(self._schemes),
            **({"securityEvents": self._events.as_json()} if self._events.is_on else {}),
            "meta": self._meta("ServiceProviderConfig", "/ServiceProviderConfig"),
        }

    def _schema(self, schema: Schema, external_id: AttributePath | None) -> dict[str, Any]:
        """Return a schema; of the common attributes, one is not the same everywhere."""
        common = [external_id.leaf] if external_id is not None else []
        return {
            "schemas": [urns.SCHEMA],
            "id": schema.id,
            "name": schema.name,
            "description": schema.description,
            "attributes": [attribute.as_json() for attribute in (*common, *schema.attributes)],
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
