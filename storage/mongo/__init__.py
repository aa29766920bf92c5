"""Resources in MongoDB.

In the order of a request: `wire` speaks to the server, `form` turns resources into documents (`layout` into
their index entries), `find` reads them (`filter` translates filters), `write` changes one resource and its
unique values (`adoption` those of other programs), `links` changes members.
"""
