"""Caches and other programs: data sets, export, import."""
