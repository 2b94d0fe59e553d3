"""What Django's cache raises when it is gone: the errors of the library behind it."""

import sys


def cache_errors() -> tuple[type[Exception], ...]:
    """Redis' own, once a cache uses it; importing seven megabytes for nothing but a name is not worth it."""
    redis = sys.modules.get("redis.exceptions")
    return (redis.RedisError,) if redis else ()
