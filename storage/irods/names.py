"""Names of accounts that other programs made: no resource of this server may take one."""

from collections.abc import Collection
from urllib.parse import unquote

from storage.adapter import StoredResource
from storage.claims import UniqueValue
from storage.errors import UniquenessConflict
from storage.irods.find import Accounts
from storage.irods.form import SYSTEM_NAMES, Account, Kind, is_plain
from storage.irods.wire import GROUPS


def refuse_named(accounts: Accounts, kind: Kind, values: Collection[UniqueValue], number: int) -> None:
    """Raise UniquenessConflict when an account other than `number` has one of the values as its name.

    Groups do not count. Users of this server do not count either: their names may differ from their
    values, and claims protect those.
    """
    for value in values:
        name = unquote(value.key)
        if value.path != kind.naming or not is_plain(name):
            continue
        for account in accounts.named(name):
            if account.number == number or _is_group(account):
                continue
            if account.account_type != kind.account_type or accounts.is_foreign(account):
                raise UniquenessConflict(kind.naming)


def refuse_foreign_name(
    accounts: Accounts, kind: Kind, resource: StoredResource, before: str | None = None
) -> None:
    """Raise UniquenessConflict for a new name of a group that another program gave a group.

    `before` is the present name. For users, `refuse_named` does the same.
    """
    name = resource.document.get(kind.naming)
    if not accounts.foreign_entries.keep_names or kind.account_type != GROUPS or name == before:
        return
    for account in accounts.named(name) if isinstance(name, str) and is_plain(name) else ():
        if _is_group(account) and accounts.is_foreign(account):
            raise UniquenessConflict(kind.naming)


def _is_group(account: Account) -> bool:
    return account.account_type == GROUPS and account.name not in SYSTEM_NAMES
