"""The access log: administrative acts and refused requests, in Postgres."""
