"""A run as plain values, and the rule by which two runs are the same.

A `Spec` is a config without its configuration library: the same fields, as
dicts, tuples, numbers and words.
"""

import collections.abc
import dataclasses
import hashlib
import itertools
import json
import math
from typing import Any, TypeVar

import xdomain
from xdomain import wording

# What makes two runs the same. Runs are compared in a table if they share
# their terms: the split and the budget.
METHOD = ('method', 'model', 'hyper', 'view')
SPLIT = ('data', 'reviews', 'protocol', 'split', 'seed')
TERMS = (*SPLIT, 'epochs', 'patience', 'every')
DECIDES = (*METHOD, *TERMS)

S = TypeVar('S', 'Spec', 'Sweep', 'Search')

# Versions whose records are those that this version would leave.
COMPARABLE = ('0.1.0', '0.2.0')


class SpecError(ValueError):
  """A spec that cannot be run; the message names the field."""


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Values that are trained beside those of a spec."""

  hyper: dict[str, tuple]  # values by hyper-parameter; all combinations
  model: dict[str, tuple]  # values by setting; one program each
  seed: tuple[int, ...] = ()
  members: tuple[dict[str, float], ...] = ()  # instead of combinations


@dataclasses.dataclass(frozen=True)
class Search:
  """Values that are tried on validation data.

  The space of a name is `('log', low, high)`, `('linear', low, high)`, or a tuple of
  choices.
  """

  hyper: dict[str, tuple]
  model: dict[str, tuple]
  trials: int = 64  # at most
  minutes: float = 8.0  # of two CPU cores, after which no trial begins
  first: tuple[dict[str, float], ...] = ()  # hyper-parameters that are tried first


@dataclasses.dataclass(frozen=True)
class Spec:
  """A method, its settings, its data and its budget.

  `replaced` returns a changed copy, `plain` the values that a record holds.
  """

  name: str  # of the run folder
  method: str  # a module of `xdomain.models`
  model: dict[str, Any]  # settings that fix shapes
  hyper: dict[str, float]  # numbers in the loss
  data: dict[str, Any]  # `kind`, and options of that kind
  split: dict[str, Any]  # options of the protocol's split
  sweep: Sweep
  search: Search
  epochs: int = 60  # at most, of each stage
  patience: int = 8  # epochs without a better validation value
  every: int = 1  # validate after every so many epochs
  seed: int = 0  # of the split and of the training
  protocol: str = 'rating'  # what is held out and measured
  view: str = 'both'  # of the pair
  reviews: bool = False  # whether side vectors are made of Amazon's reviews
  width: int = 0  # members of a sweep that are trained at once; 0: all that fit
  mesh: tuple[int, ...] = ()  # devices that batches and tables are split over


def from_config(config: collections.abc.Mapping[str, Any]) -> Spec:
  """The `Spec` of a mapping, such as a ConfigDict or the JSON of a run folder.

  What is run beside it (`beside`) is not part of it.

  Raises:
    SpecError: a field is unknown or missing.
  """
  to_dict = getattr(config, 'to_dict', None)  # of a ConfigDict
  given = to_dict() if to_dict else dict(config)
  given = _with_tuples(given)
  given.pop('beside', None)
  if 'method' not in given:
    raise SpecError('this is the config of a table; experiments.table makes it')
  fields = {field.name: field for field in dataclasses.fields(Spec)}
  for name in given:
    if name not in fields:
      raise SpecError(f'{name!r} is no field{wording.instead(name, fields)}')
  for name in ('name', 'model', 'hyper', 'data', 'split'):
    if name not in given:
      raise SpecError(f'{name!r} is missing')
  blank = {
    'hyper': dict.fromkeys(given['hyper'], ()),
    'model': dict.fromkeys(given['model'], ()),
  }
  sweep = given.get('sweep', {})
  swept = {field: blank[field] | sweep.get(field, {}) for field in blank}
  search = {'hyper': {}, 'model': {}} | given.get('search', {})
  return Spec(**given | {'sweep': Sweep(**sweep | swept), 'search': Search(**search)})


def _with_tuples(value) -> Any:
  if isinstance(value, collections.abc.Mapping):
    return {name: _with_tuples(each) for name, each in value.items()}
  if isinstance(value, list | tuple):
    return tuple(map(_with_tuples, value))
  return value


def replaced(spec: S, **fields) -> S:
  """A copy of a `Spec`, `Sweep` or `Search` with other values; dicts are merged.

  Raises:
    SpecError: a value has another type than the one it replaces.
  """
  return _replaced(spec, fields, '')


def _replaced(spec, fields, where):
  changed = {}
  for name, value in fields.items():
    now = getattr(spec, name)
    changed[name] = _merged(now, value, f'{where}{name}')
  return dataclasses.replace(spec, **changed)


def _merged(now, value, path):
  if dataclasses.is_dataclass(now):
    if dataclasses.is_dataclass(value):
      return value
    return _replaced(now, value, f'{path}.')
  if isinstance(now, dict):
    return now | {
      name: _alike(now.get(name), each, f'{path}.{name}')
      for name, each in value.items()
    }
  return _alike(now, value, path)


def _alike(now, value, path):
  """The value, as a float where one is replaced by a whole number."""
  if isinstance(now, float) and type(value) is int:
    return float(value)
  if now is None or value is None or isinstance(value, type(now)):
    return value
  kind = type(now).__name__
  raise SpecError(
    f'{path} is {_shown(value)}; it must be of type {kind}, as {now!r} is'
  )


def plain(spec: Spec) -> dict[str, Any]:
  """The spec as JSON values, without what does not decide its records."""
  fields = dataclasses.asdict(spec)
  del fields['search'], fields['width'], fields['mesh']
  return json.loads(json.dumps(fields))


def _plain(spec):
  return plain(spec) if isinstance(spec, Spec) else spec


def identity(
  spec: Spec | dict[str, Any],
  hyper: dict[str, float] | None = None,
  but: collections.abc.Collection[str] = (),
) -> dict[str, Any]:
  """The values that two equal runs have in common, as JSON values.

  Args:
    spec: a `Spec`, or its `plain` form as records hold it.
    hyper: the hyper-parameters of one member; by default those of the spec.
    but: fields that are not compared, such as 'data' where its hash is.
  """
  values = _plain(spec)
  values = values | {'hyper': values['hyper'] if hyper is None else hyper}
  values['hyper'] = {name: float(value) for name, value in values['hyper'].items()}
  return {name: values.get(name) for name in DECIDES if name not in but}


def fitting_patience(spec: Spec) -> Spec:
  """The spec with a patience and a validation interval that fit its epochs."""
  every = min(spec.every, spec.epochs)
  return dataclasses.replace(spec, every=every, patience=max(spec.patience, every))


def same_split(spec: Spec | dict[str, Any], other: Spec | dict[str, Any]) -> bool:
  """Whether two specs train and test on the same interactions."""
  one, two = _plain(spec), _plain(other)
  return all(one[name] == two[name] for name in SPLIT)


def on_the_terms_of(spec: Spec, other: Spec) -> Spec:
  """The same method on the split and with the budget of another spec."""
  terms = {name: getattr(other, name) for name in TERMS}
  sweep = dataclasses.replace(spec.sweep, seed=other.sweep.seed)
  return dataclasses.replace(spec, **terms, sweep=sweep, mesh=other.mesh)


def comparable(version: str) -> bool:
  """Whether records of a version of this package are what this one would leave."""
  return version == xdomain.__version__ or {version, xdomain.__version__} <= set(
    COMPARABLE
  )


def digest(spec: Spec, **more) -> str:
  """Eight letters that differ between specs that differ in `plain`, or in more."""
  values = {'version': xdomain.__version__, **plain(spec), **more}
  text = json.dumps(values, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:8]


# --- Sweeps -----------------------------------------------------------------


def is_sweep(spec: Spec) -> bool:
  """Whether the spec lists members; one value is a sweep of one."""
  sweep = spec.sweep
  return bool(sweep.members or sweep.seed) or any(sweep.hyper.values())


def members(spec: Spec) -> list[dict[str, float]]:
  """All hyper-parameters of each member of one seed."""
  return [
    spec.hyper | swept | member
    for member in spec.sweep.members or ({},)
    for swept in product(spec.sweep.hyper)
  ]


def by_seed(spec: Spec) -> list[Spec]:
  """A spec for each seed of a sweep, or the spec itself."""
  return [
    replaced(spec, seed=seed, sweep=dict(seed=()))
    for seed in spec.sweep.seed or (spec.seed,)
  ]


def product(values: collections.abc.Mapping[str, tuple]) -> list[dict[str, Any]]:
  """All combinations of the values by name, of names that have any."""
  given = {name: each for name, each in values.items() if each}
  return [dict(zip(given, row)) for row in itertools.product(*given.values())]


# --- Checks -----------------------------------------------------------------


def check_numbers(spec: Spec) -> None:
  """Raises a `SpecError` where a value would fail, or train nonsense, later."""
  for name in ('epochs', 'patience', 'every'):
    value = getattr(spec, name)
    check(name, value, value >= 1, 'at least 1')
  check('width', spec.width, spec.width >= 0, 'at least 0')
  if spec.every > min(spec.patience, spec.epochs):
    raise SpecError(
      f'every is {spec.every}; validate at least once within patience'
      f' ({spec.patience}) and epochs ({spec.epochs})'
    )
  seeds = spec.sweep.seed
  for field, seed in [('seed', spec.seed), *(('sweep.seed', each) for each in seeds)]:
    # A key of jax has 32 bits of it.
    fine = isinstance(seed, int) and 0 <= seed < 2**32
    check(field, seed, fine, 'a whole number from 0 to 2**32 - 1')
  check('sweep.seed', seeds, len(set(seeds)) == len(seeds), 'of different numbers')
  for name, value in spec.model.items():
    _check_setting(f'model.{name}', value)
  for field in ('hyper', 'model'):
    for name, values in getattr(spec.sweep, field).items():
      once = len(set(values)) == len(values)
      check(f'sweep.{field}.{name}', values, once, 'of different values')
  for member in spec.sweep.members:
    named = isinstance(member, collections.abc.Mapping)
    check('sweep.members', spec.sweep.members, named, 'dicts of hyper-parameters')
  for name, value in spec.hyper.items():
    listed = [member[name] for member in spec.sweep.members if name in member]
    for each in (value, *spec.sweep.hyper.get(name, ()), *listed):
      _check_hyper(name, each)
  fine = bool(spec.name) and '/' not in spec.name and spec.name.isprintable()
  check('name', spec.name, fine, "a printable name without '/'")


def _check_setting(field, value):
  several = value if isinstance(value, tuple) else (value,)
  alike = len({type(each) for each in several}) <= 1
  check(field, value, alike, 'of one type')
  for each in several:
    if isinstance(each, int) and not isinstance(each, bool):
      check(field, value, each >= 1, 'at least 1')
      check(field, value, each < 2**31, 'below 2**31')


def _check_hyper(name, value):
  field = f'hyper.{name}'
  fine = isinstance(value, int | float) and math.isfinite(value)
  check(field, value, fine, 'a finite number')
  check(field, value, value >= 0, 'not negative')
  check(field, value, name != 'lr' or value > 0, 'above 0')


def check(field: str, value: object, fine: bool, expected: str) -> None:
  """Raises a `SpecError` that names the field unless its value is fine."""
  if not fine:
    raise SpecError(f'{field} is {_shown(value)}; it must be {expected}')


def check_name(field: str, name: str, known: collections.abc.Iterable[str]) -> None:
  """Raises a `SpecError` with the nearest word unless the name is known."""
  known = list(known)
  if name not in known:
    raise SpecError(f'{field} is {name!r}{wording.instead(name, known)}')


def check_names(
  field: str,
  given: collections.abc.Iterable[str],
  known: collections.abc.Collection[str],
  owner: str,
) -> None:
  """Raises a `SpecError` unless an owner has all the settings that are given."""
  for name in given:
    if name not in known:
      raise SpecError(
        f'{field}.{name} is no setting of {owner}{wording.instead(name, known)}'
      )


def _shown(value) -> str:
  """A value as messages show it, cut where it is long."""
  text = repr(value)
  return text if len(text) <= 80 else f'{text[:77]}...'
