"""Access to Postgres: connection pools, transactions, named SQL statements and migrations.

The package uses no table of another package.
"""
