"""Fitting: fit heads on the embeddings and labels of caches, and score heads on them."""
