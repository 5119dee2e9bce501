"""Compiled programs: made quickly, kept for the next start, and counted."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import math
import mmap
import os
import pathlib
import time
from collections.abc import Iterator

import jax

from xdomain.data.readers import download

MOST_BYTES = 2**30  # of compiled programs that are kept
COMPILED = '/jax/core/compile/backend_compile_duration'
FROM_CACHE = '/jax/compilation_cache/cache_hits'
# On an H100 this cuts the compile time of an AutoRec epoch from 17 s to 5 s, and its
# epochs take as long: results/benchmarks/accelerator-nvidia-h100.md, part `flags`.
QUICK_ON_GPU = '--xla_gpu_enable_triton_gemm=false'


def compile_quickly() -> None:
  """Lets XLA choose among cuBLAS's matrix products only, where jax has a GPU.

  An XLA_FLAGS that names this option stays as it is. XLA reads the variable once, when
  the first program is compiled.
  """
  name = QUICK_ON_GPU.split('=')[0]
  flags = os.environ.get('XLA_FLAGS', '')
  gpu = bool(importlib.metadata.entry_points(group='jax_plugins'))
  if gpu and name not in flags and knows(name):
    os.environ['XLA_FLAGS'] = f'{flags} {QUICK_ON_GPU}'.strip()


def one_thread_of_blas() -> None:
  """Lets OpenBLAS use one thread on up to four cores, unless the user has set a number.

  XLA calls LAPACK from threads of its own. Threads of OpenBLAS spin while they wait,
  which makes small solves very slow on a busy machine. OpenBLAS reads the variable
  once, at the first call of LAPACK.
  """
  if (os.cpu_count() or 1) <= 4:
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')


def knows(option: str) -> bool:
  """Whether this jaxlib has an option of XLA: it aborts on any other."""
  spec = importlib.util.find_spec('jaxlib')
  assert spec is not None and spec.origin is not None
  folder = pathlib.Path(spec.origin).parent
  library = max(folder.glob('*.so'), key=lambda path: path.stat().st_size)
  with (
    open(library, 'rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
  ):
    # As a string of C; its name alone stays in the library after an option is gone.
    return content.find(b'\0%b\0' % option.lstrip('-').encode()) >= 0


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
  """

  def __init__(self):
    self.programs = 0
    self.from_cache = 0
    self._spans: list[tuple[float, float]] = []

  def add(self, seconds: float) -> None:
    """Counts a program that was ready just now, after so many seconds."""
    self.programs += 1
    now = time.monotonic()
    self._spans.append((now - seconds, now))

  @property
  def seconds(self) -> float:
    """Seconds in which a program was being compiled or read; tracing is left out."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(self._spans):
      total += max(0.0, end - max(begin, until))
      until = max(until, end)
    return total

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
        counts.add(duration_secs)

  def on_event(event, **_):
    if event == FROM_CACHE:
      for counts in _watching:
        counts.from_cache += 1

  jax.monitoring.register_event_duration_secs_listener(on_duration)
  jax.monitoring.register_event_listener(on_event)
