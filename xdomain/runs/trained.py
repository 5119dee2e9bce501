"""A trained method with its users and items: what recommends, and what is saved."""

import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from xdomain import base, wording
from xdomain.data import align, device, types
from xdomain.evaluation import rankings
from xdomain.runs import artifact, devices, methods, prepare, protocols
from xdomain.runs import spec as specs
from xdomain.training import loop

BLOCK = 16384  # users that are scored at a time
Say = Callable[[str], object]


class Recommendation(NamedTuple):
  """An item for a user."""

  user: str
  item: str
  score: float  # a rating, or a score that ranks the items of one user
  popular: bool = False  # whether it is a popular item instead of a prediction


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
  """A trained method, with all that it needs to recommend.

  `recommend` is for users of the data, `recommend_for` for others. `save` writes an
  artefact that `xdomain.load` reads without the data's files.
  """

  spec: specs.Spec
  dataset: types.Dataset  # all interactions, held out or not
  train: types.Pair  # those that the method was trained on
  state: base.Tree  # a state that the model predicts from
  epochs: tuple[int, ...]  # of each stage, as validation chose them
  seen: types.Ratings  # interactions with the target, also those that are no positives
  measures: dict[str, Any]  # of validation and test; {} where nothing was held out

  @property
  def epoch(self) -> int | tuple[int, ...]:
    """The epochs that validation chose: pass them to `fit` with all data."""
    return self.epochs[0] if len(self.epochs) == 1 else self.epochs

  @property
  def ids(self) -> types.Ids:
    """The raw ids of users and items."""
    return self.dataset.ids

  def evaluate(self) -> protocols.Measures:
    """The measures of the test, with 95 % intervals over users.

    Raises:
      SpecError: the method was trained on all interactions.
    """
    if 'test' not in self.measures:
      raise specs.SpecError(
        'the method was trained on all interactions, so that none are left to test;'
        ' fit it to a split'
      )
    return protocols.Measures(self.measures['test'])

  def recommend(
    self,
    users: Sequence[str] | None = None,
    top: int = 10,
    *,
    exclude_seen: bool = True,
    fallback: str | None = None,
    say: Say | None = None,
  ) -> list[Recommendation]:
    """The best items of users that are in the data, best first.

    The method reads all interactions of a user, held-out ones included.

    Args:
      users: raw ids; None is all users.
      top: at most so many items for each user.
      exclude_seen: leave out items that a user has an interaction with.
      fallback: 'popular' gives popular items to users without a prediction, which are
        left out otherwise.
      say: called with a line about users that are left out and scores that tie;
        by default it warns.

    Raises:
      SpecError: no user is left, or an argument is wrong.
    """
    say = _warn if say is None else say
    check_fallback(fallback)
    _check_list('users', users)
    _check_top(top)
    names = self.ids.users
    wanted = names if users is None else types.texts(dict.fromkeys(map(str, users)))
    rows = np.arange(len(names)) if users is None else places(names, wanted)
    known = rows >= 0
    if not known.all():
      leave_out(wanted[~known], f'not among the {self._users()}', fallback, say)
    able = known.copy()
    able[known] = self._readable[rows[known]]
    if (known & ~able).any():
      why = f'without interactions that {self.spec.method} reads'
      if self._model.target_only and self.spec.view != 'merged':
        why += ' (it reads those of the target alone)'
      leave_out(wanted[known & ~able], why, fallback, say)
    if not able.any() and not fallback:
      raise specs.SpecError(
        'no user is left to recommend items to; the fallback popular gives some items'
      )
    best = self._best(rows[able], top, exclude_seen, say)
    lists = dict(zip(wanted[able].tolist(), best))
    result = []
    for name, row in zip(wanted.tolist(), rows.tolist()):
      if name in lists:
        result += [Recommendation(name, *each) for each in lists[name]]
      elif fallback:
        result += self._popular(name, row, top, exclude_seen)
    return result

  def recommend_all(
    self, top: int = 10, *, block: int = BLOCK, **options
  ) -> Iterator[list[Recommendation]]:
    """The recommendations of all users, some thousand users at a time.

    Args:
      top: at most so many items for each user.
      block: users at a time.
      **options: of `recommend`.
    """
    names = self.ids.users[self._readable]
    if options.get('fallback'):
      names = self.ids.users
    for begin in range(0, len(names), block):
      yield self.recommend(names[begin : begin + block].tolist(), top, **options)

  def recommend_for(
    self,
    source: Sequence[str] | Mapping[str, float] = (),
    target: Sequence[str] | Mapping[str, float] = (),
    top: int = 10,
    *,
    exclude_seen: bool = True,
    say: Say | None = None,
  ) -> list[Recommendation]:
    """The best items of a user who is not in the data, best first.

    Args:
      source: raw ids of items of the source that the user has interactions with; a
        mapping gives their ratings. Without ratings, each counts as the highest.
      target: the same for the target.
      top: at most so many items.
      exclude_seen: leave out the items of `target`.
      say: called with a line where scores tie; by default it warns.

    Raises:
      SpecError: the method cannot score users who were never trained on, no item is
        known, or an argument is wrong.
    """
    _check_top(top)
    new = types.Pair(
      self._ratings('source', source, self.dataset.pair.source),
      self._ratings('target', target, self.dataset.pair.target),
    )
    if self._model.fold_in is None:
      raise specs.SpecError(
        f'{self.spec.method} cannot score a user who was not trained on; add the user'
        ' to the data and train again, or use a method that reads interactions, such'
        ' as shared_vae, ease, ials or item_knn'
      )
    data = self._facing(new)
    state = self._model.fold_in(self.state, self._trained_on, data, self._hyper)
    if not _readable(self._model, data).any():
      raise specs.SpecError(
        f'{self.spec.method} reads no interaction of this user; it reads those of'
        f' {"the target alone" if self._model.target_only else "both domains"}'
      )
    seen = device.by_user(new.target if exclude_seen else _without(new.target))
    lists = self._lists(state, data, seen, np.array([0]), top, say or _warn, ['new'])
    return [Recommendation('new', *each) for each in lists[0]]

  def similar_items(
    self, item: str, top: int = 10, *, domain: str = 'target', say: Say | None = None
  ) -> list[Recommendation]:
    """Items of the target for a user whose one interaction is with an item.

    Args:
      item: a raw id.
      top: at most so many items.
      domain: of the item; from a 'source' item the list crosses domains.
      say: as for `recommend_for`.

    Raises:
      SpecError: as `recommend_for`.
    """
    specs.check_name('domain', domain, ('source', 'target'))
    source, target = ([item], []) if domain == 'source' else ([], [item])
    return self.recommend_for(source, target, top=top, say=say)

  def save(self, folder: str | pathlib.Path) -> None:
    """Writes an artefact: parameters, settings, ids, interactions and measures.

    The folder is written beside and renamed, so that it is whole or not there.
    """
    artifact.save(
      folder,
      artifact.Contents(
        self.spec,
        self.dataset,
        self.train,
        artifact.flat(self.state),
        self.epochs,
        self.seen,
        self.measures,
      ),
    )

  # What follows is computed once.

  @functools.cached_property
  def _method(self) -> methods.Method:
    seen = prepare.VIEWS[self.spec.view](self.dataset, self.train)
    return methods.of(self.spec, device.sizes(seen))

  @property
  def _model(self) -> base.Model:
    return self._method.model

  @property
  def _hyper(self) -> Any:
    return self._method.hyper

  @functools.cached_property
  def _trained_on(self) -> base.Arrays:
    return prepare.put(self.spec.view, self.dataset, self.train)

  @functools.cached_property
  def _everything(self) -> base.Arrays:
    pair = self.dataset.pair._replace(side=self.train.side)
    return prepare.put(self.spec.view, self.dataset, pair)

  @functools.cached_property
  def _of_users(self) -> base.Tree:
    """The state that scores users by all of their interactions."""
    state = self.state
    if self._model.fold_in is not None:
      state = self._model.fold_in(
        state, self._trained_on, self._everything, self._hyper
      )
    return devices.scoring(state, self._everything)

  @functools.cached_property
  def _known(self) -> base.Rows:
    return device.by_user(self.seen)

  @functools.cached_property
  def _readable(self) -> np.ndarray:
    """`[U]` whether the method reads any training interaction of a user."""
    return _readable(self._model, self._trained_on)

  def _users(self):
    names = self.ids.users
    filters = ('at_least', 'positive', 'users')
    filters = [f'data.{name}' for name in filters if name in self.spec.data]
    left = f' that the filters leave ({", ".join(filters)})' * bool(filters)
    return f'{len(names):,} users{left}, such as {", ".join(names[:3].tolist())}'

  def _best(self, rows, top, exclude_seen, say):
    if not rows.size:
      return []
    known = self._known
    if not exclude_seen:
      known = device.by_user(_without(self.seen))
    names = self.ids.users[rows].tolist()
    return self._lists(self._of_users, self._everything, known, rows, top, say, names)

  def _lists(self, state, data, known, rows, top, say, names):
    """`(item, score)` of each of some rows, best first."""
    rates = protocols.of(self.spec).rates
    fallback = self._facing_training(data) if rates else None
    items, scores = rankings.best(
      self._model, state, data, known, rows, top, trained_on=fallback
    )
    tied = (scores.shape[1] > 1) & (scores[:, 0] == scores[:, -1])
    tied &= np.isfinite(scores[:, 0])
    if scores.shape[1] > 1 and tied.any():
      some = ', '.join(repr(names[at]) for at in np.flatnonzero(tied)[:3])
      say(
        f'all {scores.shape[1]} scores of a list are equal for {tied.sum():,} of'
        f' {len(rows):,} users, such as {some}: their order is arbitrary'
      )
    shown = np.clip(scores, *self.dataset.scale) if rates else scores
    of_target = self.ids.target
    return [
      [
        (str(of_target[item]), float(value))
        for item, score, value in zip(*each)
        if np.isfinite(score)
      ]
      for each in zip(items, scores, shown, strict=True)
    ]

  def _facing_training(self, data):
    """The training data with the rows of other users, for the fallback of ratings."""
    if data.target.by_user.n_rows == self._trained_on.target.by_user.n_rows:
      return self._trained_on
    target = self._trained_on.target._replace(by_user=data.target.by_user)
    return self._trained_on._replace(target=target)

  def _facing(self, new):
    """New users' rows, beside the interactions of all others by item."""
    data = prepare.put(self.spec.view, self.dataset, new)
    everything = self._everything
    each = zip(data.sources, everything.sources)
    sources = tuple(one._replace(by_item=of.by_item) for one, of in each)
    source = sources[0] if isinstance(data.source, base.Domain) else sources
    target = data.target._replace(by_item=everything.target.by_item)
    return base.Arrays(source, target)

  def _ratings(self, domain, given, like):
    """The interactions of one new user in a domain."""
    _check_list(domain, given)
    names = getattr(self.ids, domain)
    given = given if isinstance(given, Mapping) else dict.fromkeys(given)
    given = {str(name): value for name, value in given.items()}  # Each item once.
    wanted = list(given)
    rows = places(names, types.texts(wanted))
    for name, row in zip(wanted, rows):
      if row < 0:
        raise specs.SpecError(
          f'{name!r} is no item of the {domain}'
          f'{wording.instead(name, _near(name, names))}'
        )
    highest = self.dataset.scale[1] if protocols.of(self.spec).rates else 1.0
    value = [highest if each is None else each for each in given.values()]
    for name, each in zip(wanted, value):
      if not isinstance(each, int | float | np.number) or not np.isfinite(each):
        raise specs.SpecError(f'the rating of {name!r} is {each!r}, which is no number')
    return types.Ratings(
      np.zeros(len(rows), np.int32),
      rows.astype(np.int32),
      np.array(value, np.float32),
      np.zeros(0, np.int64),
      1,
      like.n_items,
    )

  def _popular(self, name, row, top, exclude_seen):
    """The most popular items of the target, marked as such."""
    target = self.dataset.pair.target
    count = np.bincount(target.item, minlength=target.n_items)
    if exclude_seen and row >= 0:
      count[self.seen.item[self.seen.user == row]] = -1
    best = np.argsort(-count, kind='stable')[:top]
    return [
      Recommendation(name, str(self.ids.target[item]), float(count[item]), True)
      for item in best
      if count[item] >= 0
    ]


def _check_list(name, given):
  if isinstance(given, str):
    raise specs.SpecError(
      f'{name}={given!r} is one text; give a list of ids, as in {name}=[{given!r}]'
    )


def _check_top(top):
  specs.check(
    'top', top, isinstance(top, int | np.integer) and int(top) > 0, 'at least 1'
  )


def _near(name, names, most=20):
  """Some known names, the nearest first, where there are too many to list."""
  import difflib

  near = difflib.get_close_matches(name, names.tolist(), 1, cutoff=0.4)
  return [*near, *names[:most].tolist()]


def _without(ratings):
  nothing = slice(0)
  return ratings._replace(
    user=ratings.user[nothing], item=ratings.item[nothing], value=ratings.value[nothing]
  )


def _readable(model, data) -> np.ndarray:
  read = (data.target, *(() if model.target_only else data.sources))
  return np.asarray(sum(domain.by_user.length for domain in read) > 0)


def _warn(line):
  warnings.warn(line, stacklevel=4)


def check_fallback(fallback: str | None) -> None:
  """Raises a `SpecError` unless the fallback is None or 'popular'."""
  if fallback is not None:
    specs.check_name('fallback', fallback, ('popular',))


def places(names: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """`[N]` positions of raw ids among names; -1 for an unknown one."""
  place = {name: at for at, name in enumerate(names.tolist())}
  return np.array([place.get(str(name), -1) for name in wanted.tolist()], int)


def leave_out(users: np.ndarray, why: str, fallback: str | None, say: Say) -> None:
  """Names some of the users that get no prediction, and the reason."""
  some = ', '.join(map(repr, users[:3].tolist()))
  more = f' and {users.size - 3:,} more' if users.size > 3 else ''
  what = 'popular items instead' if fallback else 'left out'
  say(f'{what}: {some}{more}, {why}')


def seen_interactions(
  dataset: types.Dataset, rated: types.Dataset | None
) -> types.Ratings:
  """All interactions with the target, also those rated too low to be positives."""
  target = dataset.pair.target
  if rated is None or rated is dataset:
    return target
  user = align.numbers_in(rated.ids.users, dataset.ids.users)[rated.pair.target.user]
  item = align.numbers_in(rated.ids.target, dataset.ids.target)[rated.pair.target.item]
  known = (user >= 0) & (item >= 0)
  cells = target.user.astype(np.int64) * target.n_items + target.item
  others = user.astype(np.int64) * target.n_items + item
  known &= ~np.isin(others, cells)
  return target._replace(
    user=np.append(target.user, user[known]).astype(np.int32),
    item=np.append(target.item, item[known]).astype(np.int32),
    value=np.append(target.value, np.ones(known.sum(), np.float32)),
  )


def load(folder: str | pathlib.Path) -> Trained:
  """The trained method of an artefact.

  Raises:
    ArtifactError: the folder holds no artefact, one of an unknown format or method,
      or a damaged one.
  """
  with artifact.reading(folder):
    found = artifact.read(folder)
    methods.check(found.spec)
    shapes = _state_shapes(found.spec, found.dataset, found.train)
    state = artifact.filled(shapes, found.arrays)
    return Trained(
      found.spec,
      found.dataset,
      found.train,
      state,
      found.epochs,
      found.seen,
      found.measures,
    )


def _state_shapes(spec, dataset, train):
  """Shapes and dtypes of the state that a spec's model predicts from."""
  seen = prepare.VIEWS[spec.view](dataset, train)
  method = methods.of(spec, device.sizes(seen))
  data = prepare.put(spec.view, dataset, train)
  key = jax.random.key(spec.seed)
  *_, progress = loop.shapes(method.model, key, data, method.hyper)
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), progress.best
  )
