"""Embedding: compute the vectors of images with a backbone and an engine."""
