"""What makes architectures robust: the paper's figures from the tables of studies."""
