"""What the panel refuses to do now, with a sentence that says why."""


class Refused(Exception):  # noqa: N818  nothing went wrong
    """Nothing was changed. The message is for people, in their language."""
