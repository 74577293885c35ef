"""What a backfill teaches about itself: each migrated item is a pair of an old and a new embedding."""
