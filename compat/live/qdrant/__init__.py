"""The store in Qdrant. Experimental: it has never been run against a Qdrant server."""
