"""Tables, comparisons and documents of results. Needs no torch."""
