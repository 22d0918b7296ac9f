"""The private package of the shop."""

import sqlite3

FAILED = []


class Session:
    """A connection to the database, for one request."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path)

    def rows(self, query):
        return self.connection.execute(query).fetchall()

    def close(self, error):
        self.connection.close()
        if error is not None:
            self.failed(error)

    def failed(self, error):
        """What the releases differ in."""
