"""The access tokens that a base accepts, put together from its settings."""

from collections.abc import Callable
from typing import Final

from app.auth.access_tokens import AccessTokens, TokenRules
from app.auth.claims import ClaimRules
from app.auth.issuer import Issuer
from app.auth.issuer_documents import IssuerDocuments
from app.configuration.settings import BaseSettings
from app.protocol.context import SCOPES, TYPED_SCOPES, system
from app.protocol.resources import Resources
from schema.registry import Registry
from schema.resource_type import AttributePath, ResourceType
from schema.values import comparison_key
from scim_filter.nodes import BoundComparison
from storage.adapter import Selection

# The resource type of people, whose ids principals have.
_USERS: Final = "User"


def open_access_tokens(settings: BaseSettings, resources: Resources) -> AccessTokens | None:
    """Return what knows access tokens, None without OIDC_ISSUER. Calls no issuer."""
    if not settings.oidc_issuer:
        return None
    claims = ClaimRules(
        settings.oidc_scope_claim,
        settings.oidc_scopes or {scope: frozenset({scope}) for scope in _own_scopes(resources.registry)},
        settings.oidc_principal_claim,
        settings.oidc_user_claim,
        _user_finder(settings, resources),
    )
    rules = TokenRules(
        settings.oidc_audience,
        frozenset(settings.oidc_algorithms),
        claims,
        settings.oidc_clock_skew,
        settings.oidc_require_at_jwt,
        settings.profile,
    )
    issuers = [Issuer(IssuerDocuments(url), settings.oidc_keys_max_age) for url in settings.oidc_issuer]
    return AccessTokens(rules, issuers)


def access_token_problems(settings: BaseSettings, registry: Registry) -> list[str]:
    """Return what the resource types lack for the settings of access tokens, a line each."""
    problems = []
    mapped = frozenset[str]().union(*(settings.oidc_scopes or {}).values())
    for scope in sorted(mapped - _own_scopes(registry)):
        problems.append(f"OIDC_SCOPES: there is no resource type for the scope {scope}")
    name = settings.oidc_user_attribute
    if settings.oidc_user_claim and name != "id" and _user_path(registry, name) is None:
        problems.append(f"OIDC_USER_ATTRIBUTE: users do not have the attribute {name}")
    return problems


def _own_scopes(registry: Registry) -> frozenset[str]:
    types = [resource_type.name for resource_type in registry.resource_types]
    return SCOPES | {f"{scope}:{name}" for scope in TYPED_SCOPES for name in types}


def _user_path(registry: Registry, name: str) -> tuple[ResourceType, AttributePath] | None:
    """Return the resource type of users with the path of an attribute, None if there is no such one."""
    users = registry.resource_type(_USERS)
    path = None if users is None else users.path(name)
    return None if users is None or path is None else (users, path)


def _user_finder(settings: BaseSettings, resources: Resources) -> Callable[[str], str | None]:
    """Return a function from the value of OIDC_USER_CLAIM to the id of the user, None for no user."""
    found = _user_path(resources.registry, settings.oidc_user_attribute)
    if settings.oidc_user_attribute == "id" or found is None:
        return lambda value: value
    users, path = found

    def find(value: str) -> str | None:
        node = BoundComparison(path, "eq", value, comparison_key(path.leaf, value))
        equal, _ = resources.page(system(), users, Selection(node, limit=2))
        # Nobody can say for which of two users the client acts.
        return equal[0].id if len(equal) == 1 else None

    return find
