"""Backbones: networks without their classifier, with their weights and their preprocessing."""
