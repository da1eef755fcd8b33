"""Fitting room: caches and heads meet here. Embeddings and labels make a head, or test one."""
