"""Replay a backfill from embeddings in files."""
