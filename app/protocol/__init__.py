"""The SCIM protocol as plain Python: no Flask in here."""
