"""Problems of a skeleton, as codes. The sentences are in ``subscriptions.template_words``."""

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """``name``: the group, the server or the text in question. ``line``: from 1; 0 if nobody knows."""

    code: str
    name: str = ""
    line: int = 0


class SkeletonError(ValueError):
    """A skeleton is refused."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.code)


def refuse(code: str, name: str = "") -> SkeletonError:
    return SkeletonError(Problem(code, name[:100]))
