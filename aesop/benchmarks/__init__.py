"""What `aesop benchmark` measures, a module each; `measure.py` holds what they share."""
