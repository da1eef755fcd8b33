"""Cache: one HDF5 file of rows, embeddings and failures. No module here imports torch."""
