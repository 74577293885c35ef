"""Policies: which group of a gallery is backfilled next."""
