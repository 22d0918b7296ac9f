"""The exact load: a fixed number of requests, in order, and what they leave."""
