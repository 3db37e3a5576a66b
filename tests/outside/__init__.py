"""A method that aesop knows nothing of, as somebody's own package would add it through `plugins:`."""
