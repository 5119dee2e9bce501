"""Compiled programs: kept, so that a second start compiles nothing, and counted."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator

import jax

from xdomain.data.readers import download

MOST_BYTES = 2**30  # of compiled programs that are kept
COMPILED = '/jax/core/compile/backend_compile_duration'
FROM_CACHE = '/jax/compilation_cache/cache_hits'


def keep() -> None:
  """Keeps compiled programs beside the data, unless jax has a folder for them."""
  if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore
    return
  folder = download.cache_dir() / 'compiled'
  with contextlib.suppress(OSError):
    folder.mkdir(parents=True, exist_ok=True)
  if os.access(folder, os.W_OK | os.X_OK):  # Otherwise nothing is kept.
    jax.config.update('jax_compilation_cache_dir', str(folder))
    # Small programs too: a second start compiles nothing.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    bound(folder, MOST_BYTES)


def bound(folder: pathlib.Path, most: int) -> None:
  """Deletes the oldest files of a folder until the rest holds at most `most` bytes.

  jax can bound its cache itself, but then fails on a file that an earlier version or
  a killed process left behind.
  """
  with contextlib.suppress(OSError):  # Another command may be at work there.
    found = [(path, path.stat()) for path in folder.iterdir()]
    found.sort(key=lambda each: each[1].st_mtime, reverse=True)
    total = 0
    for path, about in found:
      total += about.st_size
      if total > most:
        path.unlink()


# --- Counts -----------------------------------------------------------------


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
