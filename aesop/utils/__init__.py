"""Utilities shared by all subpackages: images, weights, downloads, files, ranks."""
