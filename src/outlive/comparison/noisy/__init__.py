"""What is noisy: load tests over rounds, decided by a documented rule, and its text. Pure."""
