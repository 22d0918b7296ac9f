"""What is installed: interpreters, locks and environments of the stacks that are measured."""
