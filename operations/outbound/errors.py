"""The one exception of outbound connections."""


class OutboundError(Exception):
    """There is no usable response. ``code`` is for programs, never a text from outside, which could hold the URL.

    ``retry_after``: seconds that the server asks to wait. ``answer``: the beginning of the body after a refused post.
    ``is_final``: trying again is of no use.
    """

    is_final = False

    def __init__(self, code: str, retry_after: int | None = None, answer: bytes = b"") -> None:
        self.code = code
        self.retry_after = retry_after
        self.answer = answer
        super().__init__(code)
