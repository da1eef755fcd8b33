"""Embedding: images, a backbone and an engine become vectors."""
