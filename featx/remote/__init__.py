"""Files at addresses: object stores, servers, and whatever else fsspec knows by its scheme."""
