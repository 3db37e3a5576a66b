"""Looking into results: loss maps so far."""
