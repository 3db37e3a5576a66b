"""Makes data sets ready, and looks them over."""
