"""docs/reference/settings.md, from the declarations in `app.configuration.groups`."""

from dataclasses import Field, fields
from typing import Any, Final

from app.configuration import groups
from app.configuration.types import as_text
from app.configuration.variables import file_variable
from docs.generate.markdown import bullets, document, listed

_INTRO: Final = """
Every setting is an environment variable. The server reads the variables once, when it starts. It reports
all errors in the settings together and does not start.

- **Empty variables.** An empty variable counts as unset. Exception: with an empty `API_KEY`, every
  request that needs credentials is refused.
- **Flags.** A flag is `true` or `false`. The server also accepts `yes`, `on` and `1`, and `no`, `off`
  and `0`, in any case.
- **Secrets in files.** A secret may come from a file: `API_KEY_FILE=/run/secrets/api_key` reads
  `API_KEY` from that file. The final line break of the file does not count. A variable and its file
  cannot both be set. An empty file, or a file that the server cannot read, stops the start. The server
  never logs a secret.
- **Unknown variables.** The server logs a warning for a variable that looks like a setting and is none,
  such as `API_KEY_FLE`. The warning names the setting that may be meant.
- **Variables of Kubernetes.** Kubernetes and Docker set variables for services, such as
  `IRODS_PORT=tcp://10.0.0.1:1247`. They have no effect.
"""
_BACKENDS: Final = """
The first of these variables that is set selects the backend: `LDAP_HOSTNAME`, `MONGO_DB`,
`DATABASE_URL`, `JUMPCLOUD_URL`, `FORWARD_SCIM_URL`, `IRODS_HOST`, `DATA_PATH`. If none is set, the
backend is the SQLite file `data/scim.db`. [Backends](backends/index.md) compares them.
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
_LIBRARIES: Final = """
## Variables of libraries

The library that sends requests to receivers, JumpCloud and an upstream reads `HTTPS_PROXY`, `HTTP_PROXY`
and `NO_PROXY`. `REQUESTS_CA_BUNDLE` names a file with the certificate authorities that the server trusts
for these requests.
"""
# Title, introduction and declarations of each section, in the order of the page.
_SECTIONS: Final[tuple[tuple[str, str, type[Any] | None], ...]] = (
    ("Server", "", groups.AccessSettings),
    ("Limits of requests", "", groups.RequestSettings),
    ("Web server", _WEB_SERVER, groups.WebServerSettings),
    ("Log", "", groups.LogSettings),
    ("Choice of the backend", _BACKENDS, None),
    ("SQL databases", "See [SQL](backends/sql.md).", groups.DatabaseSettings),
    ("Flat files", "See [Flat files](backends/files.md).", groups.FileSettings),
    ("MongoDB", "See [MongoDB](backends/mongodb.md).", groups.MongoSettings),
    ("LDAP", "See [LDAP](backends/ldap.md).", groups.LdapSettings),
    ("JumpCloud", "See [JumpCloud](backends/jumpcloud.md).", groups.JumpcloudSettings),
    (
        "Another SCIM service provider",
        "See [Another SCIM service provider](backends/forward.md).",
        groups.ForwardSettings,
    ),
    ("iRODS", "See [iRODS](backends/irods.md).", groups.IrodsSettings),
    ("Remote backends", "JumpCloud, the upstream and iRODS share these settings.", groups.RemoteSettings),
    ("Security Event Tokens", _EVENTS, groups.EventSettings),
    ("The change log", "", groups.ChangeLogSettings),
    ("Asynchronous requests", "", groups.AsynchronousSettings),
    ("Background work", "", groups.WorkerSettings),
)


def page() -> str:
    """Return the page of settings."""
    parts = [_INTRO]
    for title, introduction, declared in _SECTIONS:
        parts += [f"## {title}", introduction]
        if declared is not None:
            parts += [_setting(entry) for entry in fields(declared)]
    return document("Settings", *parts, _LIBRARIES)


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
