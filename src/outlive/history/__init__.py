"""Many releases of a framework: what each leaves, and at which of them it changed."""
