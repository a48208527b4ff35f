"""Background jobs: a table in Postgres, a runner, and one module for each kind of job."""
