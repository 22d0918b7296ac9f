"""The asv suite: what each release leaves behind. One idea a file, one class a framework."""
