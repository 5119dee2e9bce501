"""Reads an exported method and recommends with it; needs jax and numpy alone.

The file imports nothing else of xdomain: `experiments.export` copies it into the
folder that it writes, where it serves as a module of its own.

```python
import portable

model = portable.load('.')
model.recommend_for(source=['Heat (1995)'], top=3)
```

The folder holds values and programs, no code of Python and no pickle: JSON,
safetensors (read here, memory-mapped) and StableHLO as `jax.export` writes it.
"""

import bisect
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np

FORMAT = 1
ABOUT, ARRAYS = 'about.json', 'arrays.safetensors'
BATCHES = (1, 8, 64)  # Users that a compiled program takes.
REMEMBERED = 1 << 16  # Places of ids that are kept in a dictionary.
DOMAINS = ('source', 'target')
DTYPES = {
  'F32': np.float32,
  'F64': np.float64,
  'I32': np.int32,
  'I64': np.int64,
  'I8': np.int8,
  'I16': np.int16,
  'U8': np.uint8,
  'U16': np.uint16,
  'U32': np.uint32,
  'U64': np.uint64,
  'BOOL': np.bool_,
}


class ExportError(ValueError):
  """A folder without an export that this version reads, or a wrong query."""


class Query(NamedTuple):
  """A user, by the places of items; all arrays are of one length each."""

  source: np.ndarray  # int32
  target: np.ndarray  # int32
  source_value: np.ndarray  # float32
  target_value: np.ndarray  # float32
  excluded: np.ndarray  # int32, places of target items
  user: int = 0  # a place among the users, where the method knows no others


# --- Files ------------------------------------------------------------------


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Arrays by name, memory-mapped and read-only.

  Raises:
    ExportError: the file is no safetensors.
  """
  content = np.memmap(path, np.uint8, mode='r')
  try:
    size = int(content[:8].view('<u8')[0])
    header = json.loads(content[8 : 8 + size].tobytes())
    body = content[8 + size :]
    arrays = {}
    for name, of in header.items():
      if name != '__metadata__':
        begin, end = of['data_offsets']
        dtype = DTYPES[of['dtype']]
        arrays[name] = np.frombuffer(body[begin:end], dtype).reshape(of['shape'])
    return arrays
  except (IndexError, KeyError, TypeError, ValueError) as error:
    raise ExportError(f'{path.name} is damaged: {error}') from None


def write_safetensors(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by name; the largest items come first, so that all are aligned."""
  names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
  ordered = sorted(arrays.items(), key=lambda each: -each[1].dtype.itemsize)
  header, end = {}, 0
  for name, array in ordered:
    begin, end = end, end + array.nbytes
    header[name] = {
      'dtype': names[array.dtype],
      'shape': list(array.shape),
      'data_offsets': [begin, end],
    }
  text = json.dumps(header).encode()
  text += b' ' * (-(8 + len(text)) % 64)
  with open(path, 'wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for _, array in ordered:
      file.write(np.ascontiguousarray(array).data)


def digest(path: pathlib.Path) -> str:
  """The SHA-256 of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


# --- Ids --------------------------------------------------------------------


def _hash(name: str) -> int:
  return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), 'big')


class Names:
  """The raw ids of users or items, found by hash and read where they lie in a file."""

  def __init__(self, arrays: Mapping[str, np.ndarray], kind: str):
    self._text, self._end, self._hash, self._place = (
      arrays[f'ids/{kind}/{part}'] for part in ('text', 'end', 'hash', 'place')
    )
    self._found: dict[str, int] = {}

  @staticmethod
  def arrays(kind: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The part of a file that some ids have."""
    texts = [name.encode() for name in names]
    hashes = np.array([_hash(name) for name in names], np.uint64)
    order = np.argsort(hashes, kind='stable')
    return {
      f'ids/{kind}/text': np.frombuffer(b''.join(texts), np.uint8),
      f'ids/{kind}/end': np.cumsum([len(text) for text in texts], dtype=np.int64),
      f'ids/{kind}/hash': hashes[order],
      f'ids/{kind}/place': order.astype(np.int32),
    }

  def __len__(self) -> int:
    return len(self._end)

  def __getitem__(self, place: int) -> str:
    begin = self._end[place - 1] if place else 0
    return self._text[begin : self._end[place]].tobytes().decode()

  def find(self, name: str) -> int:
    """The place of an id; -1 where it is unknown."""
    place = self._found.get(name, -1)
    if place < 0:
      place = self._look_up(name)
      # A search costs as much as the rest of a request; unknown ids take no memory.
      if place >= 0 and len(self._found) < REMEMBERED:
        self._found[name] = place
    return place

  def _look_up(self, name):
    try:
      wanted = np.uint64(_hash(name))
    except UnicodeEncodeError:
      return -1
    at = int(self._hash.searchsorted(wanted))
    while at < len(self._hash) and self._hash[at] == wanted:
      place = int(self._place[at])
      if self[place] == name:
        return place
      at += 1
    return -1

  @functools.cached_property
  def _lower(self):
    """All ids in lower case, a line each, and where each line begins."""
    lines = [self[place].casefold().replace('\n', ' ') for place in range(len(self))]
    starts = np.cumsum([0, *(len(line) + 1 for line in lines)])
    return '\n'.join(lines), starts.tolist()

  def search(self, words: str, weight: np.ndarray, most: int) -> list[int]:
    """Places of ids that contain the words: those that begin so, then by weight.

    Of 2,000 such ids at most; without words, of all.
    """
    words = words.casefold().strip()
    if not words:
      return np.argsort(-weight, kind='stable')[:most].tolist()
    text, starts = self._lower
    found: dict[int, bool] = {}
    at = text.find(words)
    while at >= 0 and len(found) < 2000:
      line = bisect.bisect_right(starts, at) - 1
      found[line] = at == starts[line]
      at = text.find(words, starts[line + 1])
    ranked = sorted(found, key=lambda place: (not found[place], -weight[place]))
    return ranked[:most]


# --- Programs ---------------------------------------------------------------


class Portable:
  """An exported method, ready to recommend."""

  def __init__(self, folder: str | os.PathLike[str], verify: bool = True):
    """Reads a folder.

    Args:
      folder: of an export.
      verify: compare every file with its hash.

    Raises:
      ExportError: the folder holds no export, one of another format, or a damaged one.
    """
    folder = pathlib.Path(folder)
    try:
      self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text('utf-8'))
      number = self.about['format']
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
      raise ExportError(f'{folder.name} holds no export') from None
    if number != FORMAT:
      raise ExportError(f'the export has format {number!r}, and this is {FORMAT}')
    try:
      if verify:
        for name, expected in self.about['sha256'].items():
          if digest(folder / name) != expected:
            raise ExportError(f'{name} is damaged: it does not have its hash')
      self._arrays = read_safetensors(folder / ARRAYS)
      self._read(folder)
    except OSError as error:
      raise ExportError(f'the export lacks a file ({error.strerror})') from None
    except (KeyError, TypeError, AttributeError) as error:
      raise ExportError(f'the export is damaged ({error!r})') from None

  def _read(self, folder):
    about = self.about
    self.name, self.method = about['name'], about['method']
    self.version = about['version']
    self.folds_in: bool = about['folds_in']
    self.top: int = about['top']
    self.lengths: list[int] = about['lengths']
    self.reads: list[str] = about['reads']
    self.users, self.source, self.target = (
      Names(self._arrays, kind) for kind in ('users', *DOMAINS)
    )
    self.weight = {name: self._arrays[f'count/{name}'] for name in DOMAINS}
    self._history = {
      name: [self._arrays[f'{name}/{part}'] for part in ('start', 'item', 'value')]
      for name in (*DOMAINS, 'seen')
    }
    names = {name for each in about['programs'] for name in each['arrays']}
    device = {name: jax.device_put(self._arrays[name]) for name in names}
    self._programs = {}
    for each in about['programs']:
      arrays = [device[name] for name in each['arrays']]
      content = (folder / each['file']).read_bytes()
      run = _program(content, each, about, arrays)
      self._programs[each['kind'], each['length']] = run, arrays
    self._compiled = {}

  # Queries

  def known(self, user: str, exclude_seen: bool = True) -> Query:
    """The query of a user of the data.

    Raises:
      ExportError: the user is unknown, or has no interactions that the method reads.
    """
    at = self.users.find(user)
    if at < 0:
      raise ExportError(f'{user!r} is no user of the data')
    query = self._of_place(at, exclude_seen)
    if not any(getattr(query, name).size for name in self.reads):
      raise ExportError(f'{user!r} has no interactions that {self.method} reads')
    return query

  def _of_place(self, at, exclude_seen):
    (source, source_value), (target, target_value), (seen, _) = (
      self._row(name, at) for name in self._history
    )
    excluded = seen if exclude_seen else target[:0]
    return Query(source, target, source_value, target_value, excluded, at)

  def _row(self, name, user):
    start, item, value = self._history[name]
    begin, end = int(start[user]), int(start[user + 1])
    return item[begin:end], value[begin:end]

  def new(
    self,
    source: Mapping[int, float | None],
    target: Mapping[int, float | None],
    exclude_seen: bool = True,
  ) -> Query:
    """The query of a new user, who is not in the data.

    Args:
      source: places of source items, with ratings or None.
      target: the same of the target.
      exclude_seen: leave out the items of `target`.

    Raises:
      ExportError: the method knows users of the data alone, or reads none of the items.
    """
    if not self.folds_in:
      raise ExportError(
        f'{self.method} knows the users of its data alone; give a user instead of items'
      )
    given = {'source': source, 'target': target}
    if not any(given[name] for name in self.reads):
      raise ExportError(
        f'{self.method} reads items of the {" or the ".join(self.reads)}'
      )
    highest = self.about['highest']

    def columns(given):
      values = [highest if value is None else value for value in given.values()]
      return np.fromiter(given, np.int32, len(given)), np.array(values, np.float32)

    (items_s, values_s), (items_t, values_t) = columns(source), columns(target)
    excluded = items_t if exclude_seen else items_t[:0]
    return Query(items_s, items_t, values_s, values_t, excluded)

  def length(self, query: Query) -> int:
    """The slots a domain of the program that a query needs."""
    used = query[4:5] if not self.folds_in else (query[0], query[1], query[4])
    most = max(len(each) for each in used)
    at = bisect.bisect_left(self.lengths, most)
    if at == len(self.lengths):
      raise ExportError(f'{most:,} items are too many, at most {self.lengths[-1]:,}')
    return self.lengths[at]

  # Answers

  def best(
    self, queries: Sequence[Query], length: int | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Places of items and scores, both `[Q, top]`, best first.

    Items that are left out have a score of -inf and come last.
    """
    length = length or max(map(self.length, queries))
    return self._run('best', queries, length, self._slots(queries, 'excluded', length))

  def scores(
    self, queries: Sequence[Query], items: np.ndarray, length: int | None = None
  ) -> np.ndarray:
    """`[Q, K]` scores of items `[K]`, at most `top`, before any clipping to a scale."""
    length = length or max(map(self.length, queries))
    padded = np.zeros((len(queries), self.top), np.int32)
    padded[:, : len(items)] = items
    return self._run('scores', queries, length, padded)[:, : len(items)]

  def _slots(self, queries, field, length):
    slots = np.full((len(queries), length), -1, np.int32)
    for row, query in zip(slots, queries):
      items = getattr(query, field)
      row[: len(items)] = items
    return slots

  def _run(self, kind, queries, length, last):
    """The outcome of a program for queries in blocks of at most `BATCHES[-1]`."""
    if self.folds_in:
      values = np.zeros((2, len(queries), length), np.float32)
      for row, query in enumerate(queries):
        values[0, row, : len(query.source_value)] = query.source_value
        values[1, row, : len(query.target_value)] = query.target_value
      items = [self._slots(queries, domain, length) for domain in DOMAINS]
      columns = [items[0], values[0], items[1], values[1], last]
    else:
      columns = [np.array([query.user for query in queries], np.int32), last]
    most, parts = BATCHES[-1], []
    sizes = BATCHES if kind == 'best' else BATCHES[-1:]
    for begin in range(0, len(queries), most):
      block = [column[begin : begin + most] for column in columns]
      rows = len(block[0])
      size = next(size for size in sizes if size >= rows)
      if size > rows:  # The last user again.
        block = [np.concatenate([x, x[-1:].repeat(size - rows, 0)]) for x in block]
      result = self._call(kind, length, size, block)
      parts.append(jax.tree.map(lambda x, n=rows: np.asarray(x)[:n], result))
    return jax.tree.map(lambda *each: np.concatenate(each), *parts)

  def _call(self, kind, length, size, block):
    """The outcome of a program that is compiled here, so that it ends with the model.

    jax would hold its own compiled programs for as long as the process runs.
    """
    program, arrays = self._programs[kind, length]
    key = kind, length, size
    if key not in self._compiled:
      self._compiled[key] = program.lower(arrays, *block).compile()
    return self._compiled[key](arrays, *block)

  def warm(self, batches: Sequence[int] = BATCHES) -> None:
    """Compiles the programs of every size, so that no request waits for it."""
    nothing = np.zeros(0, np.int32)
    query = Query(nothing, nothing, nothing, nothing, nothing)
    for length in self.lengths:
      for size in batches:
        self.best([query] * size, length)
      if self.folds_in:
        self.scores([query] * batches[-1], nothing, length)

  def why(
    self, query: Query, items: np.ndarray, most: int = 3
  ) -> list[list[tuple[str, int, float]]]:
    """The items of a history that raised the scores of some items most.

    The contribution of an item is the score less the score of the same user without
    that item, exactly; all that differs is computed in one batch.

    Args:
      query: of a user.
      items: `[K]` places of recommended items.
      most: explanations for each.

    Returns:
      `(domain, place, contribution)` for each item, the largest first; only
      contributions above 0.

    Raises:
      ExportError: the method knows the users of its data alone.
    """
    if not self.folds_in:
      raise ExportError(f'{self.method} cannot leave an item of a history out')
    history = [
      (domain, at) for domain in self.reads for at in range(len(getattr(query, domain)))
    ]
    without = [_without(query, domain, at) for domain, at in history]
    scores = self.scores([query, *without], items)
    contributions = scores[:1] - scores[1:]  # [n, K]
    found = []
    for column in contributions.T:
      best = np.argsort(-column, kind='stable')[:most]
      found.append(
        [
          (history[at][0], int(getattr(query, history[at][0])[history[at][1]]), more)
          for at in best.tolist()
          if (more := float(column[at])) > 0
        ]
      )
    return found

  # By raw ids

  def recommend(
    self, users: Sequence[str], top: int = 10, exclude_seen: bool = True
  ) -> list[list[tuple[str, float]]]:
    """`(item, score)` of each of some users of the data, best first."""
    queries = [self.known(user, exclude_seen) for user in users]
    return self.named(*self.best(queries), top)

  def recommend_all(
    self, top: int = 10, *, exclude_seen: bool = True, block: int = 1024
  ) -> Iterator[dict[str, list[tuple[str, float]]]]:
    """The lists of all users with interactions that the method reads, in blocks."""
    readable = sum(np.diff(self._history[name][0]) for name in self.reads)
    users = np.flatnonzero(readable)
    for begin in range(0, len(users), block):
      some = users[begin : begin + block].tolist()
      queries = [self._of_place(user, exclude_seen) for user in some]
      lists = self.named(*self.best(queries), top)
      yield dict(zip(map(self.users.__getitem__, some), lists))

  def recommend_for(
    self,
    source: Sequence[str] | Mapping[str, float] = (),
    target: Sequence[str] | Mapping[str, float] = (),
    top: int = 10,
    exclude_seen: bool = True,
  ) -> list[tuple[str, float]]:
    """`(item, score)` for a user who is not in the data, best first.

    Args:
      source: raw ids of source items; a mapping gives ratings.
      target: the same of the target.
      top: at most so many items, at most the `top` of the export.
      exclude_seen: leave out the items of `target`.

    Raises:
      ExportError: an item is unknown, or the method cannot score the user.
    """
    query = self.new(
      self.places('source', source), self.places('target', target), exclude_seen
    )
    return self.named(*self.best([query]), top)[0]

  def places(self, domain: str, given: Iterable[str]) -> dict[int, float | None]:
    """The places of raw ids, with ratings or None; `ExportError` names unknown ones."""
    names, found, unknown = getattr(self, domain), {}, []
    values = given if isinstance(given, Mapping) else dict.fromkeys(given)
    for name, value in values.items():
      at = names.find(name)
      if at < 0:
        unknown.append(name)
      found[at] = value
    if unknown:
      raise Unknown(domain, unknown)
    return found

  def named(
    self, items: np.ndarray, scores: np.ndarray, top: int
  ) -> list[list[tuple[str, float]]]:
    """Raw ids and scores, without the items that were left out."""
    return [
      [
        (self.target[item], score)
        for item, score in zip(row[:top].tolist(), of[:top].tolist())
        if score != -np.inf
      ]
      for row, of in zip(items, scores)
    ]


def columns(
  kind: str, length: int, top: int, folds_in: bool
) -> list[jax.ShapeDtypeStruct]:
  """Shapes of a program's inputs beside its arrays, for any number `b` of users."""
  (b,) = jax.export.symbolic_shape('b')
  items = jax.ShapeDtypeStruct((b, length), np.int32)
  values = jax.ShapeDtypeStruct((b, length), np.float32)
  user = [items, values, items, values]
  if not folds_in:
    user = [jax.ShapeDtypeStruct((b,), np.int32)]
  return [*user, items if kind == 'best' else jax.ShapeDtypeStruct((b, top), np.int32)]


def _program(content, of, about, arrays):
  """The function of a StableHLO program.

  jax's own reader of exports needs another package, flatbuffers, for their types. These
  are known here: an export of a function of the same types takes the program in.
  """
  top = about['top']

  def same(arrays, *given):
    del arrays
    items = jax.numpy.zeros((given[0].shape[0], top), np.int32)
    scores = items.astype(np.float32)
    return (items, scores) if of['kind'] == 'best' else scores

  shapes = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in arrays]
  given = columns(of['kind'], of['length'], top, about['folds_in'])
  typed = jax.export.export(jax.jit(same), platforms=about['platforms'])(shapes, *given)
  exported = dataclasses.replace(
    typed,
    mlir_module_serialized=content,
    module_kept_var_idx=tuple(of['kept']),
    calling_convention_version=of['calling_convention'],
    uses_global_constants=of['global_constants'],
  )
  return jax.jit(exported.call)


class Unknown(ExportError):
  """Raw ids that are in no file of the data."""

  def __init__(self, domain: str, names: list[str]):
    self.domain, self.names = domain, names
    some = ', '.join(map(repr, names[:5]))
    more = f' and {len(names) - 5:,} more' if len(names) > 5 else ''
    super().__init__(f'unknown in the {domain}: {some}{more}')


def _without(query, domain, at):
  return query._replace(
    **{
      domain: np.delete(getattr(query, domain), at),
      f'{domain}_value': np.delete(getattr(query, f'{domain}_value'), at),
    }
  )


def load(folder: str | os.PathLike[str], verify: bool = True) -> Portable:
  """The exported method of a folder; `ExportError` where it holds none."""
  return Portable(folder, verify)
