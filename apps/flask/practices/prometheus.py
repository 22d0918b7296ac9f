# /// script
# dependencies = ["prometheus-flask-exporter"]
# ///
"""prometheus-flask-exporter as its guide has it: /metrics, and a histogram of all requests."""

from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics


def metrics(app):
    """Count and time each request, by path, method and status."""
    PrometheusMetrics(app, registry=CollectorRegistry())
