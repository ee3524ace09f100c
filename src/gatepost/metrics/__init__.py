"""Metrics: what the server does in figures, for Prometheus and OpenTelemetry."""
