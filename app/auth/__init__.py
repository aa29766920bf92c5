"""Who is calling (RFC 7644 section 2): from the credentials of a request to a principal.

Each kind of credentials is a class with the method of `Credentials`; `Chain` asks them in turn.
`app.protocol.authorization` decides what a principal may do, once for each operation.
"""
