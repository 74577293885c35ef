"""Is this upgrade worth it? One report from the user's embeddings or from a folder of results."""
