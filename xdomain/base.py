"""The words of xdomain on the device, and the letters of array shapes.

Letters, one meaning each:

  U users                      B rows or events of a batch
  S items of the source        K candidates of a query
  T items of the target        Q queries
  R rows of a matrix           L entries of one row
  E interactions of a domain   P entries of a batch, padding included
  W members of a sweep         A numbers of an auxiliary vector
  H hidden units or factors    Z latents

`_s` and `_t` mark the source and the target domain.

Data: `Rows`, `Domain`, `Arrays`, `Queries`. Methods: `Sizes`, `Stage`, `Model`, and
a `Hyper` of each method: a NamedTuple of numbers that its losses use. They are
traced, so a change compiles nothing, and `[W]` of each make a sweep; `hyper.lr` is
the learning rate wherever there is one.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import shards, wording
from xdomain.data.types import PerDomain as PerDomain
from xdomain.ops import sampling, sparse

Array = jax.Array
Tree = Any

# --- Data -------------------------------------------------------------------


class Events(NamedTuple):
  """A batch of entries of a sparse matrix; padding has weight 0."""

  row: Array  # [B] int32
  column: Array  # [B] int32
  value: Array  # [B] float32
  weight: Array  # [B] float32, 1 for an entry and 0 for padding


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('start', 'row', 'column', 'value', 'order', 'code', 'levels'),
  meta_fields=('n_columns', 'longest', 'shared', 'border'),
)
@dataclasses.dataclass(frozen=True)
class Rows:
  """A sparse matrix by rows (CSR), on the device.

  Row id `n_rows` is allowed everywhere and means an empty row: batches are
  padded with it. Bounds of row lengths are static and rounded up, so that splits
  of one data set, which differ by seed, share programs.
  """

  start: Array  # [R + 1] int32, where each row's entries begin
  row: Array  # [E] int32, sorted
  column: Array  # [E] int32
  value: Array  # [E] float32
  order: Array  # [R] int32, rows by falling length
  n_columns: int
  longest: int  # at least the entries of any row; a power of two
  shared: int = 0  # at least the rows with entries in another domain as well
  border: int = 0  # where another domain's columns begin; 0 if all are of one
  # The same matrix with every cell in one byte, where `data.device` keeps it:
  # [R + 1, n_columns] uint8, an index of `levels` [256], 0 where not observed.
  code: Array | None = None
  levels: Array | None = None

  @property
  def n_rows(self) -> int:
    return self.start.shape[0] - 1

  @property
  def n_entries(self) -> int:
    return self.column.shape[0]

  @property
  def length(self) -> Array:
    """`[R]` observed entries of each row."""
    return self.start[1:] - self.start[:-1]

  def mean(self) -> Array:
    """The mean observed value."""
    return jnp.sum(self.value) / max(1, self.n_entries)

  def batches(self, key: Array, batch: int) -> Array:
    """`[N, B]` row ids: every row once, in balanced random batches."""
    return sampling.balanced_batches(key, self.order, batch)

  def entries(self, rows: Array) -> sparse.Entries:
    """The entries of a batch from `batches`, `[B]`, flat and padded to `[P]`."""
    batch = rows.shape[0]
    capacity = sampling.capacity(self.n_rows, self.n_entries, self.longest, batch)
    return sparse.flatten_rows(self.start, self.column, self.value, rows, capacity)

  def observed(self, rows: Array) -> sparse.Entries | sparse.Cells:
    """The batch's cells from the resident matrix if there is one, or its entries.

    Both give the same sums in `ops.sparse`.
    """
    if self.code is None or self.levels is None:
      return self.entries(rows)
    code = self.code[rows]
    weight = (code > 0).astype(self.value.dtype)
    return sparse.Cells(self.levels[code], weight)

  def shuffled(self, key: Array, batch: int) -> Array:
    """`[N, B]` entry ids: every entry once, in random batches.

    Batches are of nearly one size, and padded with id `E`.
    """
    return sampling.shuffled(key, self.n_entries, batch)

  def events(self, ids: Array) -> Events:
    """The entries of a batch from `shuffled`, `[B]`."""
    weight = (ids < self.n_entries).astype(self.value.dtype)

    def of(column):  # Padding reads as 0.
      if not self.n_entries:  # Nothing can be gathered from nothing.
        return jnp.zeros(ids.shape, column.dtype)
      return jnp.where(weight > 0, shards.read(column, ids), 0)

    return Events(of(self.row), of(self.column), of(self.value), weight)

  def negatives(self, key: Array, rows: Array, n: int = 1, like: Array | None = None):
    """Columns that rows `[B]` have no entry in, drawn uniformly.

    Args:
      key: a random key.
      rows: `[B]`.
      n: how many for each.
      like: `[B]` columns whose domain they are drawn from; without, from all.

    Returns:
      As `sampling.absent`: `[B, n]` columns, and `[B]` whether there are any.
    """
    within = None
    if like is not None and self.border:
      first = like < self.border
      within = (
        jnp.where(first, 0, self.border),
        jnp.where(first, self.border, self.n_columns),
      )
    return sampling.absent(
      key, self.start, self.column, self.n_columns, self.longest, rows, n, within
    )

  def expected(self, rows: Array) -> Array:
    """The mean number of entries of as many rows as a padded batch `[B]` has.

    Dividing a batch's sum by it makes the loss's expectation the mean over all
    entries, whatever the batch size.
    """
    share = jnp.sum(rows < self.n_rows) / self.n_rows
    return max(1, self.n_entries) * share

  def for_all(self, function: Callable[[Array], Array], batch: int = 256) -> Array:
    """`function(rows [B]) -> [B, ...]` of every row, `[R, ...]`."""
    return _for_all(self.order, function, batch)


class Together:
  """Rows of the same users in several domains, visited together.

  Batches are balanced by the entries of a user in all domains.
  """

  def __init__(self, *rows: Rows):
    self.rows = rows
    self.order = jnp.argsort(-sum(each.length for each in rows))  # stable

  def batches(self, key: Array, batch: int) -> Array:
    """`[N, B]` row ids, as of `Rows.batches`."""
    return sampling.balanced_batches(key, self.order, batch)

  def entries(self, ids: Array) -> list[sparse.Entries]:
    """The entries of a batch from `batches`, `[B]`, in each domain."""
    n_rows, batch = self.order.shape[0], ids.shape[0]
    n_entries = sum(rows.n_entries for rows in self.rows)
    longest = sum(rows.longest for rows in self.rows)
    # A batch may have nearly all of its entries in one domain.
    most = sampling.capacity(n_rows, n_entries, longest, batch)
    return [
      sparse.flatten_rows(
        rows.start,
        rows.column,
        rows.value,
        ids,
        max(1, min(most, batch * rows.longest)),
      )
      for rows in self.rows
    ]

  def for_all(self, function: Callable[[Array], Array], batch: int = 256) -> Array:
    """`function(ids [B]) -> [B, ...]` of every user, `[U, ...]`."""
    return _for_all(self.order, function, batch)


def _for_all(order, function, batch):
  blocks = sampling.in_order(order, min(batch, max(1, order.size)))  # [N, B]
  values = jax.lax.map(function, blocks)
  result = jnp.zeros((order.size, *values.shape[2:]), values.dtype)
  return result.at[blocks].set(values, mode='drop')


class Domain(NamedTuple):
  """The training ratings of one domain, readable from either side."""

  by_user: Rows  # [U, items]
  by_item: Rows  # [items, U]

  def along(self, axis: str) -> Rows:
    """The rows of a 'user' or an 'item' method."""
    return self.by_user if axis == 'user' else self.by_item


class Arrays(NamedTuple):
  """A pair of domains on the device: what models train on and predict from."""

  source: Any  # a Domain, or a tuple of them
  target: Domain
  side: Array | None = None  # [U, A] or [U, 2, A]

  @property
  def sources(self) -> tuple[Domain, ...]:
    """The source, or all of them."""
    one = isinstance(self.source, Domain)
    return (self.source,) if one else tuple(self.source)

  def mirrored(self) -> 'Arrays':
    """The same pair seen from the other domain."""
    side = self.side
    if side is not None and side.ndim == 3:
      side = side[:, ::-1]
    return Arrays(self.target, self.source, side)


class Queries(NamedTuple):
  """Held-out interactions to score: `K` candidates for each of `Q` users."""

  user: Array  # [Q] int32
  item: Array  # [Q, K] int32
  gain: Array  # [Q, K] float32: the rating, or 1 for the held-out item
  mask: Array  # [Q, K] bool: which candidates are real

  def padded(self, size: int) -> 'Queries':
    """`size` queries, of which those after the first `Q` have no real candidate."""
    room = size - len(self.user)

    def pad(x):
      return jax.device_put(np.pad(x, ((0, room), *((0, 0),) * (np.ndim(x) - 1))))

    return Queries(*map(pad, self))


# --- Methods ----------------------------------------------------------------


class Unfit(ValueError):
  """The data lacks what a method learns from."""


class Sizes(NamedTuple):
  users: int
  source: int
  target: int


Score = Callable[[Array, Array], Array]  # users [B], items [B, K] -> [B, K]
Predict = Callable[[Tree, Arrays], Score]


class Stage(NamedTuple):
  """One phase of training. Its three functions are traced, never stateful.

  A stage with a `predict` keeps its best epoch on the validation ratings of
  `domain`; one without keeps its last. `predict`, the stages after it and
  checkpoints see only what `keep` leaves of a state.

  A stage with `choices` does not train: each of its epochs makes one choice, and
  validation keeps the best of them all. Without validation it keeps the last.

  The metrics of a step are scalars. 'loss' is one of them, unless the stage only
  chooses; if it is not finite, the member has diverged. 'ratings', the number that
  the step trained on, is added up over an epoch; the others are averaged.
  """

  init: Callable[..., Tree]  # (key, data, hyper, previous states) -> state
  epoch: Callable[..., Tree]  # (key, data) -> visits, leaves [N, ...]
  step: Callable[..., tuple]  # (state, visit, data, key, hyper) -> state, dict
  predict: Any = None  # a Predict, or None: then there is no best epoch
  domain: str = 'target'
  name: str = 'fit'
  inspect: Callable[..., dict] | None = None  # (state, data) -> scalars to log
  keep: Callable[[Tree], Tree] = lambda state: state  # what a best epoch needs
  choices: int = 0  # its epochs, if it only chooses; each is validated


def check_axis(axis: str) -> None:
  """Raises a ValueError unless the axis is 'user' or 'item'."""
  if axis not in ('user', 'item'):
    raise ValueError(f'axis is {axis!r}{wording.instead(axis, ("user", "item"))}')


def oriented(axis: str, rate: Callable[[Array, Array], Array]) -> Score:
  """The score of a method whose rows are users or items.

  Args:
    axis: 'user' or 'item'.
    rate: `(rows, columns) -> ratings`, over arrays that broadcast.
  """
  if axis == 'user':
    return lambda users, items: rate(users[:, None], items)
  return lambda users, items: rate(items, users[:, None])


def column_trained(axis: str, data: Arrays, users: Array, items: Array):
  """Whether the column of a U- or I- method has training ratings."""
  if axis == 'user':
    return data.target.by_item.length[items] > 0
  return jnp.broadcast_to(data.target.by_user.length[users] > 0, items.shape)


def one_visit(key: Array, data: Arrays) -> Array:
  """The epoch of a stage whose one step needs nothing to visit."""
  del key, data
  return jnp.zeros((1, 0))


def everything_trained(data: Arrays, users: Array, items: Array):
  """A model that has a sensible prediction for every pair."""
  del data, users
  return jnp.ones(items.shape, bool)


def reads_rows(state: Tree, data: Arrays, new: Arrays, hyper: Any) -> Tree:
  """The `fold_in` of a method whose state holds nothing per user: the same state."""
  del data, new, hyper
  return state


class Model(NamedTuple):
  """A method: stages that follow one another, and what comes of them.

  `predict` takes the state the last stage ended in. `trained` says which
  predictions rest on training data of their own; the others are replaced by
  the evaluation's fallback. `predict_source` scores the source domain, for
  methods that can. `predict_all` scores every item, `users [B] -> [B, items]`,
  for methods that do so faster than item by item. A method that is
  `target_only` knows users by `data.target` alone: it cannot distinguish those
  who have no events there. One that takes `several_sources` takes a tuple
  of them.

  `fold_in` makes the state that scores users who were never trained on:
  `(state, data, new, hyper) -> state`, where `new` holds their rows `[N, items]`
  (and the training interactions by item). It is None where a method has no
  exact way; then new users cannot be scored.
  """

  stages: tuple[Stage, ...]
  predict: Predict
  trained: Callable[..., Array] = everything_trained
  predict_source: Predict | None = None
  predict_all: Callable[[Tree, Arrays], Callable[[Array], Array]] | None = None
  target_only: bool = False
  several_sources: bool = False
  fold_in: Callable[..., Tree] | None = None
