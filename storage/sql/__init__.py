"""Resources in SQLite, PostgreSQL, MariaDB or MySQL."""
