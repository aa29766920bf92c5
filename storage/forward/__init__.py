"""Resources at an upstream SCIM service provider.

In the order of a request: `wire` speaks HTTP, `form` converts resources, `find` searches (with `asking`,
`listing`, `cursors`, `places`, `filter`), `write` changes one resource, `links` its members.
"""

from storage.forward.adapter import ForwardAdapter


def open_adapter(url: str, key: str, timeout_s: float = 10.0, pool_size: int = 10) -> ForwardAdapter:
    """Return the adapter for the service provider at `url`, without connecting to it."""
    return ForwardAdapter(url, key, timeout_s, pool_size)
