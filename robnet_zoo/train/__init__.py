"""Adversarial training: recipes, losses and a loop that cannot lose work."""
