"""Names to models, and the weights that go into them."""
