"""Resources in MongoDB.

In the order of a request: `wire` speaks to the server, `form` turns resources into documents (`layout` into
their index entries), `find` and `pages` read them (`filter` translates filters), `write` changes one resource
(`unique` keeps its values unique, `adoption` takes those of other programs), `links` changes members
(`levels` reads the groups of resources). At the start, `probe` looks whether the server judges queries as
MongoDB does, and `indexes` makes the indexes.
"""
