"""Prediction: images and a head become predictions."""
