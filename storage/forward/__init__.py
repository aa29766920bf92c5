"""Resources at an upstream SCIM service provider.

In the order of a request: `wire` speaks HTTP, `form` converts resources, `find` searches (with `asking`,
`listing`, `cursors`, `places`, `filter`), `write` changes one resource, `links` its members.
"""
