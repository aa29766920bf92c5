"""docs/reference/settings.md, from the declarations in `app.configuration.groups` and in the backends."""

from collections.abc import Iterator
from dataclasses import Field
from pathlib import Path
from typing import Any, Final, TypeAlias

from app.configuration import groups
from app.configuration.declared import declarations
from app.configuration.types import as_text
from app.configuration.variables import file_variable
from docs.generate.markdown import bullets, document, listed
from storage.registry import own_backends

_INTRO: Final = """
Every setting is an environment variable. The server reads the variables once, when it starts. It reports
all errors in the settings together and does not start.

- **Empty variables.** An empty variable counts as unset. Exception: with an empty `API_KEY`, every
  request that needs credentials is refused.
- **Other spellings.** Some settings have another spelling. An empty variable does not hide the other
  spelling. Two spellings that are set to different values stop the start.
- **Flags.** A flag is `true` or `false`. The server also accepts `yes`, `on` and `1`, and `no`, `off`
  and `0`, in any case.
- **Secrets in files.** A secret may come from a file: `API_KEY_FILE=/run/secrets/api_key` reads
  `API_KEY` from that file. The final line break of the file does not count. A variable and its file
  cannot both be set. An empty file, or a file that the server cannot read, stops the start. The server
  never logs a secret.
- **Unknown variables.** The server logs a warning for a variable that looks like a setting and is none,
  such as `API_KEY_FLE`. The warning names the setting that may be meant. It also names a variable such
  as `PAGE_SIZE_FILE`: only a secret is read from a file.
- **Variables of Kubernetes.** Kubernetes and Docker set variables for services, such as
  `IRODS_PORT=tcp://10.0.0.1:1247`. They have no effect.
"""
_CHOICE: Final = """
`STORAGE` names the backend: {}. A package that is installed beside the server
can add a name, with settings of its own.

Without `STORAGE`, the first of these variables that is set selects the backend: {}.
If none is set, the backend is the SQLite file `data/scim.db`. [Backends](backends/index.md) compares them.
"""
_EVENTS: Final = """
The server publishes every change as a Security Event Token (SET, RFC 8417). The settings with `SET_` in
their names configure these tokens. A receiver is a program that the server sends SETs to. A feed is a
named sequence of SETs that readers fetch. [Events](events.md) has the details. If `SET_PUSH_URL` and
`SET_RECEIVERS` are unset and `SET_POLL_ENABLED` is `false`, the server publishes no events and keeps
none.
"""
_WEB_SERVER: Final = """
These settings are for `scim serve`. [Web servers](web-servers.md) says which of them uwsgi and gunicorn
use.
"""
_ACCESS_TOKENS: Final = """
With these settings the server accepts JWT access tokens of authorization servers (RFC 9068), beside API
keys. [OAuth 2.0](../how-to/oauth.md) has the steps for Entra ID, Keycloak and Okta.
"""
_LIBRARIES: Final = """
## Variables of libraries

The library that sends requests to receivers, issuers, JumpCloud and an upstream reads `HTTPS_PROXY`,
`HTTP_PROXY` and `NO_PROXY`. `REQUESTS_CA_BUNDLE` names a file with the certificate authorities that the
server trusts for these requests.

The library of the metrics reads `PROMETHEUS_MULTIPROC_DIR`: a folder in which several processes count
together ([Monitor](../how-to/monitor.md#prometheus)). `scim serve` makes one if it is unset.
"""
# Title, introduction and declarations of each section, before and after those of the backends.
_Section: TypeAlias = tuple[str, str, type[Any]]
_BEFORE: Final[tuple[_Section, ...]] = (
    ("Server", "", groups.AccessSettings),
    ("Access tokens", _ACCESS_TOKENS, groups.AccessTokenSettings),
    ("Passwords", "", groups.PasswordSettings),
    ("Limits of requests", "", groups.RequestSettings),
    ("Web server", _WEB_SERVER, groups.WebServerSettings),
    ("Log", "", groups.LogSettings),
    ("Slow searches", "", groups.SlowSearchSettings),
    ("Metrics and traces", "", groups.MetricsSettings),
)
_AFTER: Final[tuple[_Section, ...]] = (
    ("State database", "", groups.StateSettings),
    ("Security Event Tokens", _EVENTS, groups.EventSettings),
    ("The change log", "", groups.ChangeLogSettings),
    ("Asynchronous requests", "", groups.AsynchronousSettings),
    ("Background work", "", groups.WorkerSettings),
)
_REMOTE: Final[_Section] = (
    "Remote backends",
    "JumpCloud, the upstream and iRODS share these settings.",
    groups.RemoteSettings,
)
_BACKEND_PAGES: Final = Path(__file__).parent.parent / "reference" / "backends"


def page() -> str:
    """Return the page of settings. A setting of several sections is in the first of them."""
    parts, named = [_INTRO], set[str]()
    for title, introduction, declared in (*_BEFORE, _choice(), _REMOTE, *_backends(), *_AFTER):
        parts += [f"## {title}", introduction]
        parts += [_setting(entry) for name, entry in declarations(declared).items() if name not in named]
        named |= declarations(declared).keys()
    return document("Settings", *parts, _LIBRARIES)


def _choice() -> _Section:
    own = own_backends()
    addresses = listed(options.address.upper() for options in own.values())
    return "Choice of the backend", _CHOICE.format(listed(own), addresses), groups.StorageSettings


def _backends() -> Iterator[_Section]:
    """Yield the section of each backend; the title of its own page is the name of its options."""
    pages = {path.read_text().partition("\n")[0]: path.name for path in _BACKEND_PAGES.glob("*.md")}
    for options in own_backends().values():
        title = str(options.__doc__)
        yield title, f"See [{title}](backends/{pages[f'# {title}']}).", options


def _setting(entry: Field[Any]) -> str:
    described = entry.metadata["is"]
    name = entry.name.upper()
    facts = [f"Values: {entry.metadata['read'].__doc__}.", f"Default: {_default(entry)}."]
    spellings = (name, *entry.metadata["also"])
    if entry.metadata["secret"]:
        facts.append(f"From a file: {listed(file_variable(spelling) for spelling in spellings)}.")
    if entry.metadata["also"]:
        facts.append(f"Other spelling: {listed(entry.metadata['also'])}.")
    text = f"{described.does} {described.edges}".strip()
    return f"### `{name}`\n\n{text}\n\n{bullets(facts)}"


def _default(entry: Field[Any]) -> str:
    described = entry.metadata["is"]
    if described.default is not None:
        return f"unset, which means {described.default}"
    shown = as_text(entry.default)
    return f"`{shown}`" if shown else "unset"
