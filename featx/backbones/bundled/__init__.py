"""Bundled backbones: networks that torchvision lacks, two of them with weights."""
