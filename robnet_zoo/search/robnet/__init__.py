"""RobNet: a one-shot search for robust architectures, and the study of what makes them so."""
