"""What is stored or crosses rooms, as data only: no process, no socket, no clock."""
