"""Tests of the service provider that cannot hold on iRODS, and why."""

from collections.abc import Mapping
from typing import Final

_TWO_TYPES = "iRODS holds users and groups, and no other type"
_ITS_IDS = "iRODS gives ids itself: those of an import are not kept"
_PASSWORDS = "iRODS tells nobody a password: one that is sent again is a change"
_VO_PASSWORDS = "iRODS has no place for the passwords of voPerson"
_LATER_UNIQUE = "what becomes unique later is guarded from the next change of an account on"

LIMITS: Final[Mapping[str, str]] = {
    "test_a_file_makes_a_resource_type": _TWO_TYPES,
    "test_a_required_extension_is_required": _TWO_TYPES,
    "test_immutable_attributes_stay": _TWO_TYPES,
    "test_resources_come_in_as_if_a_client_had_sent_them": _ITS_IDS,
    "test_members_may_come_before_or_after_and_missing_ones_are_named": _ITS_IDS,
    "test_done_again_it_goes_on": _ITS_IDS,
    "test_ids_can_be_made_of_an_attribute": _ITS_IDS,
    "test_a_password_is_set_and_removed": _PASSWORDS,
    "test_replace_by_the_same_makes_no_new_version": _PASSWORDS,
    "test_with_all_schemas_the_checker_objects_only_to_adding": _VO_PASSWORDS,
    "test_an_attribute_that_becomes_unique_is_from_then_on": _LATER_UNIQUE,
    "test_who_shares_a_value_that_becomes_unique_is_named": _LATER_UNIQUE,
}
