"""Train policies and compare them with orders."""
