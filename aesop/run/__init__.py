"""The training loop, validation and test run: the only room that opens logs, loaders and run folders."""
