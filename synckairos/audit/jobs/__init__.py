"""Background jobs: queued in Postgres, carried out by workers, each on its own."""
