"""What does a framework release leave in memory after a request has failed, and does upgrading change that?"""

__version__ = "0.1.0"
