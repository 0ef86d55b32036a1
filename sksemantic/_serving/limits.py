"""What a server takes, and how long it waits."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Limits of a server; all are positive numbers.

    Attributes
    ----------
    batch_texts : int
        The most texts of one batch.
    wait_seconds : float
        How long the first text of a batch waits for others.
    queue_texts : int
        The most texts that wait; what comes above it is answered by 503.
    request_texts : int
        The most texts of one request; one with more is answered by 413.
    request_bytes : int
        The most bytes of one request; a larger one is answered by 413.
    timeout_seconds : float
        The longest that a request waits; later it is answered by 503.
    """

    batch_texts: int = 256
    wait_seconds: float = 0.005
    queue_texts: int = 1024
    request_texts: int = 256
    request_bytes: int = 2**20
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = isinstance(field.default, int)
            expected = "a positive integer" if whole else "a positive number"
            is_number = isinstance(value, int if whole else int | float)
            if isinstance(value, bool) or not is_number or value <= 0:
                raise ValueError(
                    f"The '{field.name}' parameter must be {expected}. Got {value!r} "
                    "instead."
                )
        if self.request_texts > self.queue_texts:
            raise ValueError(
                "The 'request_texts' parameter must be at most 'queue_texts', "
                f"{self.queue_texts}. Got {self.request_texts} instead."
            )
