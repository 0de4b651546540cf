"""The attacks, one file each; `robnet_zoo.attacks.table` has a row for every name."""
