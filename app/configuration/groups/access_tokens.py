"""Settings of access tokens that authorization servers issue (RFC 9068)."""

from dataclasses import dataclass

from app.configuration import token_types as types
from storage import option_types
from storage.options import setting


@dataclass(frozen=True, repr=False)
class AccessTokenSettings:
    """Access tokens of authorization servers."""

    oidc_issuer: tuple[str, ...] = setting(
        (),
        types.issuers,
        "The authorization servers whose JWT access tokens the server accepts, such as"
        " `https://login.example.com/realms/main`. Each URL is exactly the claim `iss` of the tokens, with or"
        " without a final slash.",
        "The server fetches the keys of an issuer with the first token, not at its start. `OIDC_AUDIENCE` is"
        " required too. See [OAuth 2.0](../how-to/oauth.md).",
    )
    oidc_audience: tuple[str, ...] = setting(
        (),
        types.audiences,
        "The names that issuers have for this server. The claim `aud` of an access token must contain one of"
        " them.",
        "Tokens for other servers are refused, so that none of these can use a token that it received.",
    )
    oidc_algorithms: tuple[str, ...] = setting(
        ("RS256", "PS256", "ES256", "EdDSA"),
        types.algorithms,
        "The algorithms of signatures that the server accepts.",
        "`none`, `HS256` and other names stop the start. The kind of a key decides which of the algorithms"
        " it can be used with.",
    )
    oidc_require_at_jwt: bool = setting(
        False,
        option_types.flag,
        "`true`: only tokens with the `typ` `at+jwt` of RFC 9068 are accepted. `false`: also tokens with the"
        " `typ` `JWT` or without one, such as those of Entra ID, Keycloak and Okta.",
        "With `false`, the server recognises ID tokens by their claims and by their audience, the client."
        " Therefore let `OIDC_AUDIENCE` be the name of no client.",
    )
    oidc_clock_skew: int = setting(
        60,
        types.clock_skew,
        "How far the clock of an issuer may differ from the clock of the server, in seconds.",
        "Tokens are accepted so long after `exp`, and so long before `nbf` and `iat`.",
    )
    oidc_keys_max_age: int = setting(
        86400,
        types.keys_age,
        "How long the server uses the keys of an issuer that cannot be reached, in seconds.",
        "After this time, tokens of the issuer are answered 503 until it can be reached. A key that the"
        " issuer revokes meanwhile stays valid for so long.",
    )
    oidc_scope_claim: tuple[str, ...] = setting(
        ("scope", "scp", "roles", "permissions"),
        types.claims,
        "The claims with the scopes of a token. The first claim that a token has counts; it is a text with"
        " spaces or a list.",
        "A token without any of them has no scopes, and its requests are answered 403.",
    )
    oidc_scopes: dict[str, frozenset[str]] | None = setting(
        None,
        types.scopes,
        "The scopes of this server for each text in the claim, such as"
        ' `{"provisioning": ["scim.read", "scim.write"], "helpdesk": ["scim.read:User"]}`.',
        "Other texts in the claim have no effect.",
        shown="that scopes have the same names at the issuer: `scim.read`, `scim.write:User`",
    )
    oidc_principal_claim: str = setting(
        "",
        option_types.text,
        "The claim with the name of the principal. The id of the principal is the issuer, `|` and this name;"
        " cursors and asynchronous requests belong to it, and the change log shows it.",
        "A token without the claim is answered 401. The value must never pass to somebody else.",
        shown="`sub`, and in a token without it `client_id`, `azp`, `cid` or `appid`",
    )
    oidc_user_claim: str = setting(
        "",
        option_types.text,
        "The claim that names the user that the client acts for. The server looks for its value in"
        " `OIDC_USER_ATTRIBUTE`.",
        "A token without the claim, or with a value that no user has, acts for no user.",
        shown="that no access token acts for a user",
    )
    oidc_user_attribute: str = setting(
        "externalId",
        option_types.one_of("id", "externalId", "userName"),
        "The attribute of users that the value of `OIDC_USER_CLAIM` is compared with.",
        "If two users have the value, the token acts for no user. The server notices a change of the"
        " attribute within 60 seconds.",
    )
