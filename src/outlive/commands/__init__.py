"""The verbs of the command line, one module each: words in, the library called, its answer shown."""
