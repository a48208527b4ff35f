"""Background loops of every instance: commits of overdue transitions, and recovery after data loss."""
