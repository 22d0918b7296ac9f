"""What is served and asked: apps, scenarios, gunicorn with the probe in it, peers."""
