"""What people see of results: tables, comparisons, documents. Needs no torch."""
