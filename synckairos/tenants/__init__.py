"""Tenants and the operators that administer them: tables in Postgres, and the tenants in the memory of an instance."""
