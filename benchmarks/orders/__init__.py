"""Policies for the order of a backfill: trained in some environments, tried in others."""
