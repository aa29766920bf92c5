"""The relational index of resources: tables, what is found in them, and the databases they are in."""
