"""What the zoo holds: list, show, draw, fetch and publish."""
