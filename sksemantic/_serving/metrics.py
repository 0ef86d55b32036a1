"""What Prometheus is told of a server."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "sksemantic_requests",
            "Requests by endpoint and status.",
            ["endpoint", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "sksemantic_request_seconds",
            "Time from a request to its answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.texts = Counter(
            "sksemantic_texts",
            "Texts that were answered, by model.",
            ["model"],
            registry=registry,
        )
        self.batch_texts = Histogram(
            "sksemantic_batch_texts",
            "Texts of a batch.",
            buckets=_TEXTS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "sksemantic_batch_seconds",
            "Time that a batch takes.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_texts = Gauge(
            "sksemantic_queue_texts", "Texts that wait.", registry=registry
        )
        self.models = Gauge(
            "sksemantic_models", "Models that are loaded.", registry=registry
        )
        self.worker_restarts = Counter(
            "sksemantic_worker_restarts",
            "How often the worker died and was started again.",
            registry=registry,
        )

    def count_batch(self, n_jobs: int, n_texts: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_texts.observe(n_texts)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all of them in Prometheus' text format."""
        return generate_latest(self.registry)
