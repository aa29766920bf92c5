"""The SCIM protocol as plain Python: no Flask in here.

A module belongs here when it follows from an RFC and needs no HTTP. This package imports no other
package of `app`; all others may import it.
"""
