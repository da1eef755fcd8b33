"""Heads: fit scikit-learn estimators on arrays. No module here imports torch or h5py."""
