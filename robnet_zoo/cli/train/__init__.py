"""Training, and the folders that it leaves."""
