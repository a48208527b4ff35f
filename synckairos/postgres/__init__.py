"""Access to Postgres: connection pools, transactions, named SQL statements and migrations.

Independent of all tables.
"""
