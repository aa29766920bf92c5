"""The deprovisioning guard: a client that removes or deactivates unusually many resources is stopped.

A wrong mapping or a wrong scope in an identity provider makes it remove everybody within minutes. Beyond a
number in a window of time, further removals and deactivations are refused until an operator releases them.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.protocol.context import Context
from app.protocol.errors import TooManyRequests
from app.protocol.write import Write
from schema.resource_type import ResourceType
from set_delivery.clock import now_ms
from set_delivery.deprovisions import DeprovisionTable, Window

_LOG = logging.getLogger(__name__)

_LIMIT: Final = re.compile(r"([1-9][0-9]{0,8})(%?)")


class DeprovisionRefused(TooManyRequests):
    """The deprovisioning guard refuses a removal or deactivation of a resource of `resource_type`."""

    def __init__(self, detail: str, retry_after_s: int, resource_type: ResourceType) -> None:
        super().__init__(detail, retry_after_s)
        self.resource_type = resource_type


@dataclass(frozen=True)
class DeprovisionLimit:
    """How many resources of a type a client may remove in a window: a number, or a share in percent."""

    number: int
    is_share: bool = False

    @classmethod
    def read(cls, text: str) -> "DeprovisionLimit":
        """Return the limit that a text such as `50` or `5%` stands for. Raises ValueError."""
        found = _LIMIT.fullmatch(text.strip())
        if found is None or (found[2] and int(found[1]) > 100):
            raise ValueError("must be a number such as 50, or a share of the resources such as 5%")
        return cls(int(found[1]), bool(found[2]))

    def of(self, total: int) -> int:
        """Return the number for a type of which there were `total` resources; a share is rounded up."""
        return -(-total * self.number // 100) if self.is_share else self.number

    def __str__(self) -> str:
        return f"{self.number}{'%' if self.is_share else ''}"


class DeprovisioningGuard:
    """Counts removals and deactivations, and refuses them once there were too many.

    `total` returns how many resources of a type there are. `told` is called with the principal and the type
    when a guard closes.
    """

    def __init__(
        self,
        table: DeprovisionTable,
        limit: DeprovisionLimit,
        window_s: int,
        total: Callable[[ResourceType], int],
        told: Callable[[Context, ResourceType], object],
    ) -> None:
        self._table = table
        self._limit = limit
        self._window_ms = window_s * 1000
        self._total = total
        self._told = told

    def admit(self, context: Context, write: Write) -> None:
        """Return if a write may be carried out.

        Raises DeprovisionRefused for a removal or deactivation beyond the limit, also in later windows until
        the guard is released.
        """
        if not is_deprovisioning(write):
            return
        window = self._window(context, write.resource_type)
        if window.closed_at is None and window.removed < self._limit.of(window.total):
            return
        raise DeprovisionRefused(
            f"the client has removed or deactivated {window.removed} resources of the type "
            f"{write.resource_type.name} ({self._limit} are allowed in {self._window_ms // 1000} seconds): "
            "an operator must release it with scim guard release",
            self._window_ms // 1000,
            write.resource_type,
        )

    def close(self, context: Context, resource_type: ResourceType) -> None:
        """Close the guard of a client that was refused, and tell of it once."""
        name = resource_type.name
        if self._table.close(context.principal.id, name):
            _LOG.error(
                "THE DEPROVISIONING GUARD HAS STOPPED %s: it removed or deactivated more than %s %s in %d "
                "seconds; after a look at its changes run: scim guard release %r",
                *(context.principal.name, self._limit, name, self._window_ms // 1000, context.principal.id),
            )
            self._told(context, resource_type)

    def count(self, context: Context, write: Write) -> None:
        """Count a write that was carried out."""
        if is_deprovisioning(write):
            self._table.count(context.principal.id, write.resource_type.name)

    def _window(self, context: Context, resource_type: ResourceType) -> Window:
        principal = context.principal.id
        window = self._table.window(principal, resource_type.name)
        is_over = window is not None and window.since + self._window_ms <= now_ms()
        if window is None or (is_over and window.closed_at is None):
            self._table.begin(principal, resource_type.name, self._total(resource_type))
            window = self._table.window(principal, resource_type.name)
            assert window is not None
        return window


def is_deprovisioning(write: Write) -> bool:
    """Return whether a write removes a resource, or makes one inactive."""
    if write.kind == "delete":
        return True
    if write.before is None or write.after is None or write.is_same:
        return False
    was, is_now = (one.document.get("active", True) for one in (write.before, write.after))
    return is_now is False and was is not False
