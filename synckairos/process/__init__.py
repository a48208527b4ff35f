"""Operating-system processes: `server`, `worker` and `dev`, each built from its components here."""
