"""Runs the queries of concurrent callers in batches."""

import asyncio
import collections
import itertools
from collections.abc import Callable
from concurrent import futures

import numpy as np

from xdomain.serving import portable

WAITING = 4096  # The most queries that can wait.


class Busy(Exception):
  """As many queries wait as can wait."""


class Batcher:
  """Collects queries to one model, and runs its program once for many of them.

  While a batch runs, queries gather for the next one. After a batch of several queries
  the next one starts a little later, so that callers with a fresh response can join it;
  a lone caller never waits.
  """

  def __init__(
    self,
    model: portable.Portable,
    pool: futures.Executor,
    window: float,
    observe: Callable[[int], None],
  ):
    """Prepares an empty batch.

    Args:
      model: whose program runs.
      pool: the threads of programs.
      window: seconds in which queries gather.
      observe: called with the size of each batch.
    """
    self._model, self._pool, self._window = model, pool, window
    self._observe = observe
    self._waiting: dict[int, collections.deque] = collections.defaultdict(
      collections.deque
    )
    self._task: asyncio.Task | None = None
    self._arrivals = itertools.count()

  def __len__(self) -> int:
    return sum(map(len, self._waiting.values()))

  async def best(self, query: portable.Query) -> tuple[np.ndarray, np.ndarray]:
    """Places of the best items and their scores, both `[top]`, see `Portable.best`.

    Raises:
      Busy: `WAITING` queries wait already.
    """
    if len(self) >= WAITING:
      raise Busy
    answer = asyncio.get_running_loop().create_future()
    arrival = next(self._arrivals)
    self._waiting[self._model.length(query)].append((arrival, query, answer))
    if self._task is None or self._task.done():
      self._task = asyncio.create_task(self._drain())
    return await answer

  async def _drain(self):
    loop, size = asyncio.get_running_loop(), 1
    while len(self):
      if size > 1 and self._window:
        await asyncio.sleep(self._window)
      # Programs differ by the length of rows; that of the oldest query is next.
      _, length = min((queue[0][0], n) for n, queue in self._waiting.items() if queue)
      queue = self._waiting[length]
      batch = [queue.popleft() for _ in range(min(len(queue), portable.BATCHES[-1]))]
      size = len(batch)
      self._observe(size)
      queries = [query for _, query, _ in batch]
      try:
        rows = await loop.run_in_executor(self._pool, self._model.best, queries, length)
      except Exception as error:
        for *_, answer in batch:
          if not answer.done():
            answer.set_exception(error)
        continue
      for (*_, answer), items, scores in zip(batch, *rows):
        if not answer.done():  # The caller may have disconnected.
          answer.set_result((items, scores))
