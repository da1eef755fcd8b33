"""Fitting: the embeddings and labels of a cache become a head, or test one."""
