"""Users and groups as accounts of an iRODS zone.

In the order of a request: `wire` calls the zone (through `sessions` and `connections`), `form` converts
resources, and `seal` hides them from other users. `find` reads them (with `filter`; `names` refuses names of
accounts of other programs), `write` changes or deletes one (`creation` creates and `removal` removes it),
`links` has its members. Beside requests, `purge` removes unused metadata, and `sealing` seals what is there.
"""
