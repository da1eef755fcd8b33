"""Extraction: a source becomes a cache file."""
