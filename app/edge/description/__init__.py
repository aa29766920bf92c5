"""What /openapi.json says: one table of operations, and how it becomes a document."""
