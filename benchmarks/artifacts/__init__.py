"""Artifacts: trained weights, embeddings, orders and curves, made once and found again."""
