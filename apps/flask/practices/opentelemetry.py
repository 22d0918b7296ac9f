# /// script
# dependencies = ["opentelemetry-sdk", "opentelemetry-instrumentation-flask"]
# ///
"""opentelemetry's instrumentation as its guide has it: each request has a span, and spans go nowhere."""

from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


def tracing():
    """Trace each request that Flask serves."""
    _provide()
    FlaskInstrumentor().instrument()


def _provide():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)


class Nowhere(SpanExporter):
    """Takes what would be exported."""

    def export(self, spans):
        return SpanExportResult.SUCCESS
