"""What every search is made of: spaces, the supernet and its optimizers."""
