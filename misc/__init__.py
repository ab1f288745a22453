"""Commands that run beside the package: the demonstration, grids of real nodes, benches."""
