"""What was found, held against what was published."""
