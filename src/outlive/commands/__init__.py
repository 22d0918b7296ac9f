"""The verbs of the command line, one module each: they parse words, call the library and show its answer."""
