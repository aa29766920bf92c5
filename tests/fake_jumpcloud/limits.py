"""Tests of the service provider that cannot hold on JumpCloud, and why."""

from collections.abc import Mapping
from typing import Final

_USERS_ONLY = "only users can be members of JumpCloud groups"
_TWO_TYPES = "JumpCloud holds users and groups, and no other type"
_ITS_IDS = "JumpCloud gives ids itself: those of an import are not kept"
_VO_PASSWORDS = "JumpCloud has no place for the passwords of voPerson"
_PASSWORDS = "JumpCloud tells nobody a password: one that is sent again is a change"

LIMITS: Final[Mapping[str, str]] = {
    "test_a_thousand_groups_may_each_refer_to_the_next": _USERS_ONLY,
    "test_a_circle_may_be_as_large_as_the_request": _USERS_ONLY,
    "test_resources_may_refer_to_each_other_in_a_circle": _USERS_ONLY,
    "test_what_follows_a_circle_is_not_undone_by_it": _USERS_ONLY,
    "test_projection_etags_search_by_post_and_nested_groups_work": _USERS_ONLY,
    "test_members_are_completed_from_what_they_name": _USERS_ONLY,
    "test_users_show_the_groups_they_are_in": _USERS_ONLY,
    "test_groups_may_contain_each_other": _USERS_ONLY,
    "test_a_group_that_contains_itself_can_be_deleted": _USERS_ONLY,
    "test_deleting_a_group_ends_the_memberships": _USERS_ONLY,
    "test_groups_are_found_by_member_and_users_by_group": _USERS_ONLY,
    "test_members_are_removed_by_any_filter": _USERS_ONLY,
    "test_3_7_1_circular_references": _USERS_ONLY,
    "test_a_file_makes_a_resource_type": _TWO_TYPES,
    "test_a_required_extension_is_required": _TWO_TYPES,
    "test_immutable_attributes_stay": _TWO_TYPES,
    "test_resources_come_in_as_if_a_client_had_sent_them": _ITS_IDS,
    "test_members_may_come_before_or_after_and_missing_ones_are_named": _ITS_IDS,
    "test_done_again_it_goes_on": _ITS_IDS,
    "test_ids_can_be_made_of_an_attribute": _ITS_IDS,
    "test_done_again_without_ids_it_leaves_alone_what_is_there": "JumpCloud has no two groups of one name",
    "test_a_password_is_set_and_removed": _PASSWORDS,
    "test_replace_by_the_same_makes_no_new_version": _PASSWORDS,
    "test_with_all_schemas_the_checker_objects_only_to_adding": _VO_PASSWORDS,
    "test_who_shares_a_value_that_becomes_unique_is_named": "nobody looks at all users at the start",
}
