"""Counters in Django's cache, and the errors that it raises when its server is unavailable."""

import sys
from collections.abc import Mapping

from django.core.cache import DEFAULT_CACHE_ALIAS, cache, caches
from django.core.cache.backends.redis import RedisCache

# Counters per transaction of Redis, which answers nobody else meanwhile.
_STEP = 500


def cache_errors() -> tuple[type[Exception], ...]:
    """Redis' errors, if a cache uses it. Otherwise the library is not imported, because it takes 7 MB."""
    redis = sys.modules.get("redis.exceptions")
    return (redis.RedisError,) if redis else ()


def count_up(amounts: Mapping[str, int], timeout: int) -> dict[str, int]:
    """Add to counters, each atomically; return their new values. A new one starts at 0 and lives ``timeout`` seconds.

    Redis gets them in batches: with one call per counter, a message about 10,000 people took many seconds.
    """
    backend = caches[DEFAULT_CACHE_ALIAS]
    if isinstance(backend, RedisCache):
        return _count_up_in_redis(backend, amounts, timeout)
    return {key: _count_up(key, amount, timeout) for key, amount in amounts.items()}


def _count_up(key: str, amount: int, timeout: int) -> int:
    cache.add(key, 0, timeout=timeout)
    try:
        return cache.incr(key, amount)
    except ValueError:  # a full cache dropped the key between the two calls
        return amount


def _count_up_in_redis(
    backend: RedisCache, amounts: Mapping[str, int], timeout: int
) -> dict[str, int]:
    client = backend._cache.get_client(write=True)  # noqa: SLF001  Django has no pipelines
    found: dict[str, int] = {}
    items = list(amounts.items())
    for start in range(0, len(items), _STEP):
        step = items[start : start + _STEP]
        pipeline = client.pipeline()
        for key, amount in step:
            name = backend.make_and_validate_key(key)
            pipeline.set(name, 0, ex=timeout, nx=True)
            pipeline.incrby(name, amount)
        found |= zip((key for key, _ in step), pipeline.execute()[1::2], strict=True)
    return found
