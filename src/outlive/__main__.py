"""`python -m outlive` is the `outlive` command."""

from outlive.cli import main

main()
