"""Jobs of a benchmark: planned, run, collected into results."""
