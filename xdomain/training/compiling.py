"""Counts the programs that jax compiles, and the seconds that this takes."""

import contextlib
import functools
from collections.abc import Iterator

import jax

COMPILED = '/jax/core/compile/backend_compile_duration'
FROM_CACHE = '/jax/compilation_cache/cache_hits'


class Compiled:
  """Counts of compiled programs; they grow until `watch` ends.

  Attributes:
    programs: compiled programs, those read from the persistent cache included.
    from_cache: programs that were read from the persistent cache.
    seconds: time of compiling and reading; tracing is not part of it.
  """

  def __init__(self):
    self.programs = 0
    self.from_cache = 0
    self.seconds = 0.0

  def __str__(self):
    cached = f' ({self.from_cache} from the cache)' if self.from_cache else ''
    return f'compiled {self.programs} programs{cached} in {self.seconds:.1f} s'


_watching: list[Compiled] = []


@contextlib.contextmanager
def watch() -> Iterator[Compiled]:
  """Counts the programs that are compiled in its block, by all threads."""
  _listen()
  counts = Compiled()
  _watching.append(counts)
  try:
    yield counts
  finally:
    _watching.remove(counts)


@functools.cache
def _listen():
  """Registers the listeners, once a process: not every jax can remove them."""

  def on_duration(event: str, duration_secs: float, **_: str | int) -> None:
    if event == COMPILED:
      for counts in _watching:
        counts.programs += 1
        counts.seconds += duration_secs

  def on_event(event, **_):
    if event == FROM_CACHE:
      for counts in _watching:
        counts.from_cache += 1

  jax.monitoring.register_event_duration_secs_listener(on_duration)
  jax.monitoring.register_event_listener(on_event)
