"""Background loops of every server process: due deadlines, and recovery after data loss."""
