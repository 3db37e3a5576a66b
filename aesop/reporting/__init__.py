"""Looking into results: the paper's figures, its published numbers, and the report."""
