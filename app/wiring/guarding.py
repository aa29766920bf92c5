"""The deprovisioning guard of a base, put together from its settings."""

from dataclasses import replace

from app.configuration.settings import BaseSettings
from app.protocol.context import Context
from app.protocol.deprovisioning import DeprovisioningGuard, DeprovisionLimit
from app.wiring.delivery import Delivery
from schema.resource_type import ResourceType
from set_delivery.deprovisions import DeprovisionTable
from storage.adapter import Selection, StorageAdapter
from storage.search import search


def open_guard(
    settings: BaseSettings, adapter: StorageAdapter, delivery: Delivery
) -> DeprovisioningGuard | None:
    """Return the guard, None if DEPROVISION_LIMIT is unset. Raises StorageUnavailable."""
    if not settings.deprovision_limit:
        return None
    table = DeprovisionTable(delivery.database)
    try:
        table.make()
    finally:
        # Connections do not survive a fork, and this may happen before one.
        delivery.database.close()

    def total(resource_type: ResourceType) -> int:
        return search(adapter, resource_type, Selection(limit=0), lambda stored, links: {}).total

    def told(context: Context, resource_type: ResourceType) -> None:
        stopped = replace(context, origin="system", txn="")
        delivery.audit.log.append(stopped, "guard", (resource_type.name, ""))

    limit = DeprovisionLimit.read(settings.deprovision_limit)
    return DeprovisioningGuard(table, limit, settings.deprovision_window, total, told)
