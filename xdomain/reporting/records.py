"""Records: one JSON object for each run, or for each member of a sweep.

A record holds the config of its run, hashes of data and split, the value that
validation chose by and, unless the run failed, all measures of the test. Measures
have one name everywhere: 'rmse', 'mae', or a catalogue and a measure such as
'sampled hr@10' and 'full ndcg@10'.
"""

import json
import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xdomain import files, wording
from xdomain.evaluation import lists, rankings

ERRORS = ('rmse', 'mae')
CATALOGUES = ('sampled', 'full', 'expected')
RANKED = tuple(f'{c} {name}' for c in CATALOGUES for name in rankings.names())
LISTED = tuple(f'list {name}' for name in lists.names())  # one list a user
BEYOND = tuple(f'beyond {name}' for name in lists.BEYOND)  # no sums of users
LISTS = (*LISTED, *BEYOND)


class Task(NamedTuple):
  """The kind of prediction of a protocol, as far as records show it."""

  name: str
  valid: str  # the field of a record with the best validation value
  measures: tuple[str, ...]  # of a summary; the first decides comparisons


RATING = Task('rating', 'valid_rmse', ERRORS)
RANKING = Task(
  'ranking',
  'valid_ndcg@10',
  ('sampled ndcg@10', 'sampled hr@10', 'full ndcg@10', 'full hr@10'),
)
TASKS = (RATING, RANKING)
CHOICE = 'valid_full_ndcg@10'  # of a trial that ranks: in the full catalogue
DAMAGE = (OSError, EOFError, LookupError, ValueError, zipfile.BadZipFile, zlib.error)
# Fields that every record has, and their types.
FIELDS = {
  'name': str,
  'config': dict,
  'hyper': dict,
  'seed': int,
  'hashes': dict,
  'versions': dict,
  'epoch': int,
  'failed': bool,
  'seconds': (int, float),
  'time': str,
  'device': str,
}
NESTED = (
  ('config', 'data', dict),
  ('config', 'method', str),
  ('hashes', 'data', str),
  ('hashes', 'split', str),
  ('versions', 'xdomain', str),
  ('versions', 'jax', str),
)


class RecordError(ValueError):
  """Records that cannot be read, or that do not belong together."""


def task_of(record: dict) -> Task:
  """Whether a record is of rating prediction or of ranking."""
  for task in TASKS:
    if task.valid in record:
      return task
  fields = ' nor '.join(task.valid for task in TASKS)
  raise RecordError(f'the record has neither {fields}')


def read(path: str | pathlib.Path) -> list[dict]:
  """The records of a run folder or of a file of records, each checked.

  Args:
    path: a run folder, or a file of JSON lines, `.xz` if it is compressed.

  Returns:
    The records; none where the file does not exist.

  Raises:
    RecordError: naming the file and the line, for a damaged line or a record
      that lacks a field.
  """
  path = pathlib.Path(path)
  path = path / 'records.jsonl' if path.is_dir() else path
  lines = files.read(path)
  for number, record in enumerate(lines, 1):
    fault = fault_of(record)
    if fault:
      raise RecordError(f'{path}, line {number} is not a record of a run: {fault}')
  return lines


def read_table(path: str | pathlib.Path) -> list[dict]:
  """The records of a table, each with the `row` and `column` of its cell.

  Raises:
    RecordError: as for `read`.
  """
  records = read(path)
  for number, record in enumerate(records, 1):
    for name in ('row', 'column'):
      if not isinstance(record.get(name), str):
        raise RecordError(
          f'{path}, line {number} is not a record of a table: {name!r} is'
          f' {_shown(record, name)}'
        )
  return records


def fault_of(record: object) -> str:
  """The fault of a record, in a few words; empty for a whole record."""
  if not isinstance(record, dict):
    return f'it is a {type(record).__name__}, not an object'
  for name, kind in FIELDS.items():
    if not isinstance(record.get(name), kind):
      return f'{name!r} is {_shown(record, name)}'
  for name, inner, kind in NESTED:
    if not isinstance(record[name].get(inner), kind):
      return f'{inner!r} of {name!r} is {_shown(record[name], inner)}'
  if not isinstance(record.get('parameters', 0), int):
    return f"'parameters' is {_shown(record, 'parameters')}"
  for name in record['hyper']:
    if not isinstance(record['hyper'][name], int | float):
      return f"{name!r} of 'hyper' is {_shown(record['hyper'], name)}"
  try:
    task = task_of(record)
  except RecordError as error:
    return str(error).removeprefix('the record has ')
  if not isinstance(record[task.valid], int | float | None):
    return f'{task.valid!r} is {_shown(record, task.valid)}'
  return '' if record['failed'] or 'test' not in record else _test_fault(record, task)


def _shown(fields, name):
  return f'{fields[name]!r:.60}' if name in fields else 'missing'


def _test_fault(record, task):
  try:
    for measure in task.measures:
      value(record, measure)
      user_interval(record, measure)
  except RecordError as error:
    return str(error)
  by_user = record.get('by_user', {'n': []})
  if not isinstance(by_user, dict):
    return f"'by_user' is {by_user!r:.60}"
  lengths = {len(sums) if isinstance(sums, list) else -1 for sums in by_user.values()}
  if (
    'n' not in by_user or len(lengths) > 1 or not all(map(_are_sums, by_user.values()))
  ):
    return "'by_user' does not hold numbers in lists of one length, 'n' among them"
  return ''


def _are_sums(numbers):
  """Whether a list holds finite numbers, none of them negative."""
  try:
    array = np.asarray(numbers)
  except ValueError:
    return False
  if array.ndim != 1 or array.dtype.kind not in 'iuf':
    return False
  return bool(np.isfinite(array).all() and (array >= 0).all())


# --- Values -----------------------------------------------------------------


def title(measure: str) -> str:
  """The heading of a measure: 'RMSE', 'HR@10' (sampled), 'full HR@10'."""
  catalogue, _, name = measure.rpartition(' ')
  return ('' if catalogue in ('', 'sampled') else f'{catalogue} ') + name.upper()


def lower_is_better(measure: str) -> bool:
  return measure in ERRORS


def bounds(measure: str) -> tuple[float, float]:
  """The least and the greatest value that a measure can have."""
  unbounded = (*ERRORS, 'beyond novelty')
  return (0.0, math.inf) if measure in unbounded else (0.0, 1.0)


def value(record: dict, measure: str) -> float | None:
  """A measure of the test; None where the run failed.

  Raises:
    RecordError: the record does not have the measure.
  """
  if record['failed']:
    return None
  test = record.get('test')
  for name in measure.split(' '):
    if not isinstance(test, dict) or name not in test:
      raise RecordError(
        f'the record of {record["name"]}, seed {record["seed"]}, has no {measure}'
      )
    test = test[name]
  if not isinstance(test, int | float | None):
    raise RecordError(f'{measure} of {record["name"]} is {test!r:.60}')
  return test


def values(records: Iterable[dict], measure: str) -> tuple[float, ...]:
  """A measure of each record but for failed runs."""
  every = (value(record, measure) for record in records)
  return tuple(number for number in every if number is not None)


def user_interval(record: dict, measure: str) -> tuple[float, float] | None:
  """The 95 % interval over users that a run found by itself, if it is kept.

  Raises:
    RecordError: it is not a pair of numbers.
  """
  catalogue, _, name = measure.rpartition(' ')
  test = record['test']
  if not catalogue:
    pair = test.get(f'{name}_interval')
  else:
    of_catalogue = test.get(f'{catalogue}_interval')
    pair = of_catalogue.get(name) if isinstance(of_catalogue, dict) else of_catalogue
  match pair:
    case None | [None, _] | [_, None]:
      return None
    case [int() | float() as low, int() | float() as high]:
      return low, high
  raise RecordError(f'the interval of {measure} of {record["name"]} is {pair!r:.60}')


def loss(record: dict) -> float:
  """The validation value as a loss, lower is better; infinite for a failed run."""
  task = task_of(record)
  best = record[task.valid]
  if best is None or record['failed']:
    return math.inf
  return best if task is RATING else 1 - best


def choice(record: dict) -> float:
  """The loss by which a search compares a trial; infinite for a failed run."""
  value = record.get(CHOICE)
  return loss(record) if value is None or record['failed'] else 1 - value


def with_user_sums(
  record: dict, folder: pathlib.Path | None, member: int, measures: Iterable[str]
) -> dict:
  """A record whose `by_user` has exactly these measures, where they are known.

  Args:
    record: of a run; what it holds of its users is taken where it suffices.
    folder: of the run, with its test queries; None where it is not here.
    member: index of the record among those of the run.
    measures: names.

  Raises:
    RecordError: the file of test queries is damaged.
  """
  measures = [name for name in measures if name not in BEYOND]
  kept = record.get('by_user', {})
  if folder is None or record['failed'] or set(measures) <= kept.keys():
    wanted = {name: kept[name] for name in ('n', *measures) if name in kept}
    return record | ({'by_user': wanted} if wanted else {})
  test = read_test(folder, member)
  try:
    return record | {'by_user': user_sums(test, measures)}
  except DAMAGE:
    raise _damaged_test(folder) from None


def read_test(folder: pathlib.Path, member: int = 0) -> dict[str, np.ndarray]:
  """The arrays of a run's test, `[Q]` of its queries and the answers of a member.

  Raises:
    RecordError: their file is damaged or missing.
  """
  try:
    # NumPy would leave the file of a damaged archive open.
    with open(folder / 'test.npz', 'rb') as file, np.load(file) as arrays:
      return {name: x[member] if x.ndim > 1 else x for name, x in arrays.items()}
  except DAMAGE:
    raise _damaged_test(folder) from None


def _damaged_test(folder) -> RecordError:
  path = folder / 'test.npz'
  return RecordError(f'{path} is damaged; delete the folder to run it again')


def user_sums(test: dict[str, np.ndarray], measures: Iterable[str]) -> dict[str, list]:
  """The share of each user in each measure, as a record's `by_user` holds it.

  Args:
    test: `[Q]` arrays of one run's test queries.
    measures: their names.

  Returns:
    `[U]` numbers of queries `n`, and sums over the queries of a user: squared
    errors for 'rmse', absolute errors for 'mae', gains for the others; for a measure
    of lists, its value in the user's list.
  """
  user = test['user']
  sums = {'n': np.bincount(user).tolist()}
  for measure in measures:
    of = _by_list if measure in LISTED else _by_query
    by_user = np.bincount(*of(test, measure))
    sums[measure] = [float(f'{total:.3g}') for total in by_user]
  return sums


def _by_list(test, measure):
  """Users with a list `[N]`, and the measure of each list `[N]`."""
  users, values = lists.retrieval(test['user'], test['full'])
  return users, values[:, LISTED.index(measure)]


def _by_query(test, measure):
  """The user `[Q]` of each query, and what it adds to a measure `[Q]`."""
  if measure in ERRORS:
    error = np.abs(test['rating'] - test['truth'])
    return test['user'], error ** (2 if measure == 'rmse' else 1)
  catalogue, name = measure.split(' ')
  gains = rankings.gains(test[catalogue])
  return test['user'], gains[:, rankings.names().index(name)]


def read_run(path: str | pathlib.Path) -> list[dict]:
  """Records as `read`, with the sums of each user that comparisons need.

  Raises:
    RecordError: as for `read`, or there is no such path.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise RecordError(f'{path} does not exist')
  folder = path if (path / 'test.npz').exists() else None
  return [
    with_user_sums(record, folder, member, task_of(record).measures[:1])
    for member, record in enumerate(read(path))
  ]


# --- Records that belong together -------------------------------------------


def by_method(records: Iterable[dict]) -> dict[str, list[dict]]:
  """The records of each method, one a seed, in the order of their first records.

  Of a sweep, the member with the best validation value counts.

  Raises:
    RecordError: records of one method have different configs or tasks, hold a
      seed twice, or are of a failed run.
  """
  methods = {}
  for record in _best_members(records):
    methods.setdefault(record['name'], []).append(record)
  for name, group in methods.items():
    _check_group(name, group)
  return methods


def named_by_cell(records: Sequence[dict]) -> list[dict]:
  """Records of a table under the names of their cells; others are left as they are."""
  several = len({str(record.get('column')) for record in records}) > 1
  return [
    _of_cell(record, several)
    if isinstance(record.get('row'), str) and isinstance(record.get('column'), str)
    else record
    for record in records
  ]


def _of_cell(record, several):
  name = record['row'] + f', {record["column"]}' * several
  # Some seeds of a cell may have been members of a sweep and others single runs.
  config = record['config'] | {'name': name, 'hyper': record['hyper']}
  return record | {'name': name, 'config': config}


def by_task(records: Iterable[dict]) -> list[list[dict]]:
  """The records of rating prediction and those of ranking, where there are any."""
  groups = {}
  for record in records:
    groups.setdefault(task_of(record), []).append(record)
  return [groups[task] for task in TASKS if task in groups]


def _best_members(records):
  runs = {}
  for record in records:
    if loss(record) == math.inf:
      raise RecordError(f'a run of {record["name"]} failed; leave it out')
    run = [record['name'], record['config'], record['time']]
    key = json.dumps(run, sort_keys=True)
    if key not in runs or loss(record) < loss(runs[key]):
      runs[key] = record
  return runs.values()


def _check_group(name: str, group: Sequence[dict]) -> None:
  first, free = group[0]['config'], {'seed', 'sweep'}
  if all('search' in record for record in group):  # Each seed has its own choice.
    free |= {'hyper', 'model'}
  for record in group[1:]:
    config = record['config']
    differs = [
      field
      for field in first
      if field not in free and config.get(field) != first[field]
    ]
    if differs:
      raise RecordError(
        f'the records of {name} have different configs ({", ".join(differs)}); give'
        ' records of one config'
      )
  seeds = [record['seed'] for record in group]
  if len(set(seeds)) < len(seeds):
    raise RecordError(f'the records of {name} hold a seed twice: {seeds}')


def check_method(name: str, known: Iterable[str]) -> None:
  """Raises a RecordError where no record has the name of a method."""
  if name not in (known := list(known)):
    raise RecordError(f'no record is of {name!r}{wording.instead(name, known)}')


def doubts(test: dict) -> list[str]:
  """Reasons why the measures of a test prove little or nothing, as sentences.

  Args:
    test: of a record.
  """
  found = []
  users = test.get('users', test.get('queries', test.get('ratings')))
  if users == 1:
    found.append('no test: a single held-out query is all that was tested')
  if left_out := test.get('left_out'):
    found.append(
      f'{test["queries"]:,} of {test["queries"] + left_out:,} held-out interactions are'
      ' ranked, those of users drawn at random; split.evaluated is the most that are'
    )
  ranked = test.get('full', {})
  if ranked.get('hr@10') == ranked.get('ndcg@10') == 1:
    found.append(
      'no test: every held-out item is ranked first (HR = NDCG = 1); look for the'
      ' held-out interactions in the training data'
    )
  if test.get('rmse') == 0:
    found.append(
      'no test: every held-out rating is predicted exactly; look for the held-out'
      ' ratings in the training data'
    )
  return found
