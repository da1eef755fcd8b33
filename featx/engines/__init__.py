"""Engines: run a frozen backbone over batches."""
