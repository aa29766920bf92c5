"""How tests make named tokens."""

from typing import Any

from app.auth.token_table import NewToken, TokenTable
from app.auth.token_text import new_token
from app.auth.tokens import NamedTokens
from tests.conftest import ScimClient


def table_of(scim: ScimClient) -> TokenTable:
    """Return the tokens of an application."""
    table = scim.app.extensions["scim.base"].credentials.tokens
    assert isinstance(table, TokenTable)
    return table


class Client:
    """A client of an application that has a named token with some scopes, separated by spaces."""

    def __init__(
        self, scim: ScimClient, name: str, scopes: str, *, profile: str = "default", **chosen: Any
    ) -> None:
        self.scim = scim
        self.name = name
        self.text = new_token()
        new = NewToken(name, frozenset(scopes.split()), profile, **chosen)
        self.id = table_of(scim).create(new, self.text).id

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Any:
        sent = {"Authorization": f"Bearer {self.text}", **(headers or {})}
        return self.scim(method, path, body, sent, **options)

    def revoke(self) -> None:
        """Revoke the token; this application knows that at once."""
        table_of(self.scim).revoke(self.name)
        for kind in self.scim.app.extensions["scim.base"].credentials.chain._kinds:
            if isinstance(kind, NamedTokens):
                # As if two seconds had passed.
                kind._asked_s = float("-inf")
