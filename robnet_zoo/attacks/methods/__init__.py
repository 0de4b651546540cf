"""The attacks, one file each; `robnet_zoo.attacks.registry` has a row for every name."""
