"""Access to Postgres: pools, named SQL statements, migrations. Knows no table."""
