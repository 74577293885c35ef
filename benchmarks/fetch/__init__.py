"""Getting the published archives of datasets: downloaded or by hand, verified."""
