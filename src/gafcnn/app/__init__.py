"""Studies and their runs on disk, and the commands: the configuration becomes calls of the API."""
