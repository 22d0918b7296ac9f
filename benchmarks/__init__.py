"""The asv suite: what each release leaves behind. One topic a file, one class a framework."""
