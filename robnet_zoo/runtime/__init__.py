"""What every room needs: errors, files, console, options, processes and checkpoints."""
