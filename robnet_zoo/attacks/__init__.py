"""The attacks: one file an attack, and the registry that names them."""
