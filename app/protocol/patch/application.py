"""Carrying a PATCH out on a resource, and judging it without one (RFC 7644 section 3.5.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.protocol.errors import Refusal
from app.protocol.patch.members import RequestedMembers
from app.protocol.patch.message import placed
from app.protocol.patch.patcher import Patcher
from app.protocol.patch.plan import PatchPlan
from app.protocol.patch.selection import NothingSelected
from schema.errors import ScimError


@dataclass(frozen=True)
class Patched:
    """The resource after a PATCH; `removed_secrets` are paths of `returned: never` attributes."""

    resource: dict[str, Any]
    removed_secrets: frozenset[str] = field(default=frozenset())


def apply_patch(plan: PatchPlan, resource: Mapping[str, Any], members: RequestedMembers) -> Patched:
    """Return the canonical `resource` after all operations, in order; the argument stays as it is.

    Changes of the membership attribute go to `members`. Raises InvalidFilter, InvalidPath, NoTarget,
    Mutability and InvalidValue, each with the index of the operation, and Refusal 413; nothing is
    changed then.
    """
    patcher = Patcher(plan.rules, orjson.loads(orjson.dumps(resource)), members, len(plan.operations))
    for planned in plan.operations:
        try:
            patcher.run(planned)
        except (ScimError, Refusal) as problem:
            raise placed(problem, planned.position) from None
    return Patched(patcher.finish(), frozenset(patcher.removed_secrets))


def check_operations(plan: PatchPlan) -> None:
    """Raise, as `apply_patch` would, what is wrong with the operations whatever the resource holds."""
    for planned in plan.operations:
        patcher = Patcher(plan.rules, {}, RequestedMembers(lambda: ()))
        try:
            patcher.run(planned)
        except NothingSelected:
            # The selection of a path depends on the resource.
            continue
        except (ScimError, Refusal) as problem:
            raise placed(problem, planned.position) from None
