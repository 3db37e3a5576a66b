"""A package, so that the `tests` that some other project installs by mistake does not hide this one."""
