"""Heads room: arrays in, a fitted scikit-learn estimator out. Knows neither torch nor HDF5."""
