"""Stacks that the workers of a Dask scheduler measure."""
