"""Sessions that tick: each clock advances tick by tick, by the rules alone. Tests compare them with the engine."""
