"""Access to Postgres: connection pools, named SQL statements, migrations. Knows no table of another package."""
