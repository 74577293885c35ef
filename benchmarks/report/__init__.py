"""Is this upgrade worth it? One report from embeddings of one's own or from a folder of results."""
