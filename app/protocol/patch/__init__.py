"""PATCH (RFC 7644 section 3.5.2): a pure function from a resource and operations to a resource."""

from app.protocol.patch.application import Patched, apply_patch, check_operations
from app.protocol.patch.ignored import IgnoredPaths
from app.protocol.patch.members import RequestedMembers, named_ids
from app.protocol.patch.message import PatchOperation, read_operations
from app.protocol.patch.plan import PatchPlan, PatchRules, plan_patch

__all__ = [
    "IgnoredPaths",
    "RequestedMembers",
    "PatchOperation",
    "PatchPlan",
    "PatchRules",
    "Patched",
    "apply_patch",
    "check_operations",
    "named_ids",
    "plan_patch",
    "read_operations",
]
