"""Background jobs: job table in Postgres, runner, and one module for each kind of job."""
