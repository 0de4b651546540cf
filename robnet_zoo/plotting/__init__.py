"""What is drawn, in one style: cells as graphs, and accuracies."""
