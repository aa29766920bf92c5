"""How settings are declared: each is an environment variable with a default, a type and a meaning.

A backend declares its settings as fields of its class `Options`, beside its adapter and without its driver.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from storage.option_types import positive


@dataclass(frozen=True)
class Description:
    """What the reference says of a setting, in Markdown.

    `does` says what the setting is for, `edges` what happens at its limits and together with other
    settings. `default` is the text for a default that the server works out; None is the default itself.
    """

    does: str
    edges: str = ""
    default: str | None = None


def setting(
    default: Any,
    read: Callable[[str], Any],
    does: str,
    edges: str = "",
    *,
    shown: str | None = None,
    also: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Return the field of a setting, whose name in capitals is the name of its variable.

    `read` makes the value from the text of the variable, and raises ValueError for a text that it refuses.
    Its docstring names the texts. `also` holds other spellings of the variable. A secret is not shown, and
    may come from a file.
    """
    metadata = {"read": read, "also": also, "secret": secret, "is": Description(does, edges, shown)}
    return field(default=default, repr=False, metadata=metadata)


secret = partial(setting, secret=True)


def pool_size(of: str, wait_s: int) -> Any:
    """Return the field for the number of connections of a process, of which one more waits `wait_s`."""
    does = f"The largest number of connections of each process to {of}."
    edges = f"A thread that finds all in use waits up to {wait_s} seconds; then its request is answered 503."
    return setting(10, positive, does, edges)


@dataclass(frozen=True)
class StorageOptions:
    """The settings of one backend. The docstring of a child is the name of the backend for people."""

    # The version of the contract that a backend of another distribution is written for, as a number: the
    # server refuses every version but its own.
    contract_version: ClassVar[int | None] = None
    # The setting with the address of the backend. STORAGE without it stops the start.
    address: ClassVar[str]
    # Without STORAGE, the server uses the lowest of its own backends whose address is set.
    precedence: ClassVar[int] = 0
    # The modules of the driver, each with the extra that installs it. Their loggers have the same names.
    drivers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # The Debian packages that the compilation of the driver needs.
    debian: ClassVar[str] = ""
    # Whether the adapter has a `state_database`.
    shares_state: ClassVar[bool] = False
    # No setting: 32 bytes for each secret of SECRET_KEYS, to encrypt what is stored. The first one writes.
    sealing_keys: tuple[bytes, ...] = field(default=(), repr=False, kw_only=True)

    @property
    def location(self) -> str:
        """Where resources are, for the log: an address, in which everything before an @ is left out."""
        return str(getattr(self, self.address))

    @property
    def state_url(self) -> str | None:
        """The state database that lies beside the resources, if there is one."""
        return None

    def problems(self) -> Sequence[str]:
        """Return what is wrong with the settings taken together, a line each that begins with a variable."""
        return ()

    def cautions(self) -> Sequence[str]:
        """Return what the log of each start warns of, a line each that begins with a variable."""
        return ()
