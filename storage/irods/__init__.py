"""Users and groups as accounts of an iRODS zone.

In the order of a request: `wire` calls the zone (through `sessions`), `form` converts resources, `find`
reads them (with `filter`), `write` changes or deletes one (`creation` creates it), `links` has its members.
"""
