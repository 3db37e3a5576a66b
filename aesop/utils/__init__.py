"""What every room may use: images, weights, downloads, files, ranks."""
