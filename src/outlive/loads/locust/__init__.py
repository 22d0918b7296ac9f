"""What locust imports: users, arrivals and tallies."""
