"""Cache room: one HDF5 file of rows, embeddings and failures. Knows no torch."""
