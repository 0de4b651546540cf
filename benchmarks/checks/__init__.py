"""A trial of the checks: networks changed to look more robust than they are, and honest ones."""
