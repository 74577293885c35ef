"""Fetch the published archives of datasets, by download or by hand, and verify them."""
