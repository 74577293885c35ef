"""Which group of a gallery is migrated next: policies for `compat.environment`."""
