"""Prediction: predict the classes of images with a head."""
