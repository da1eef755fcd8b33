"""Backbones room: networks without their classifier, their weights and their preprocessing."""
