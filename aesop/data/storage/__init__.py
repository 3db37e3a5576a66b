"""Where images are read from: files, LMDBs, the decode cache."""
