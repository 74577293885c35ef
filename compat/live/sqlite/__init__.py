"""The embedded store: one file of SQLite, and its vectors in memory."""
