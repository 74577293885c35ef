"""The embedded store: one SQLite file, with its vectors in memory."""
