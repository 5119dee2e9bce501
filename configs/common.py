"""Parts of every config: the argument, the data block, the skeleton."""

import json
import pathlib
from typing import Any

import ml_collections

from xdomain import wording
from xdomain.data import sources

Argument = ml_collections.ConfigDict  # the values of `parse_arg`


def parse_arg(arg: str | None, **fields: Any) -> Argument:
  """Parses the argument of a config file, as in `configs/darec.py:item,pair=3`.

  Args:
    arg: words and `name=value`, separated by commas; or None.
    **fields: the fields by name. A tuple lists the words of a choice, the first of
      which is the default; False is a switch that its name turns on; any other value
      is a default whose type the given value takes.

  Returns:
    A ConfigDict with every field.

  Raises:
    ValueError: A word is unknown, or two words exclude each other.
  """
  values = {
    name: field[0] if isinstance(field, tuple) else field
    for name, field in fields.items()
  }
  chosen = {}
  for part in filter(None, (arg or '').split(',')):
    name, equals, text = part.partition('=')
    if equals and name in fields:
      values[name] = _value(name, text, fields[name])
    elif not equals and fields.get(name) is False:
      values[name] = True
    else:
      name = _choice_of(part, fields)
      if chosen.setdefault(name, part) != part:
        raise ValueError(f'{chosen[name]!r} and {part!r} exclude each other')
      values[name] = part
  if values.get('quick') and values.get('full'):
    raise ValueError("'quick' and 'full' exclude each other")
  if values.get('pair') and values['data'] not in ('movielens', 'amazon'):
    raise ValueError(f"'pair=' is of amazon, not of {values['data']!r}")
  return ml_collections.ConfigDict(values)


def _value(name, text, field):
  if isinstance(field, tuple):
    if text not in field:
      raise ValueError(f'{name} is {text!r}{wording.instead(text, field)}')
    return text
  try:
    return type(field)(text)
  except ValueError:
    raise ValueError(
      f'{name} is {text!r}, which is not of type {type(field).__name__}'
    ) from None


def _choice_of(word, fields):
  """Returns the name of the field that has this word among its choices."""
  known = []
  for name, field in fields.items():
    if isinstance(field, tuple):
      if word in field:
        return name
      known.extend(field)
    else:
      known.append(name if field is False else f'{name}=')
  raise ValueError(f'{word!r} is not known{wording.instead(word, known)}')


DATA = ('movielens', 'amazon', 'tables', 'synthetic')
OF_METHODS = (*DATA, 'movielens_100k')
ARGUMENT = dict(
  data=OF_METHODS, pair=0, quick=False, full=False, time=False, given=False
)
RANKING_ARGUMENT = dict(
  data=OF_METHODS, quick=False, full=False, time=False, last=False, given=False
)
BASELINE_ARGUMENT = RANKING_ARGUMENT | dict(cold=False)
ONE_DOMAIN = ('merged', 'alone')  # views of a method that reads one domain


def rating_terms(arg: Argument) -> dict:
  """Returns the protocol of a rating method where it is not the default."""
  if arg.given:
    return dict(protocol='given_ratings', split={})
  return dict(protocol='rating_by_time') if arg.time else {}


def length(arg: Argument) -> dict:
  """Returns epochs and patience of a rating method, for `quick`, `full` or neither.

  The default ends within minutes on two cores and loses little; `full` is the
  protocol of the papers. With `time` the split is by time, with `given` that of files.
  """
  terms = rating_terms(arg)
  if arg.quick:
    return dict(epochs=20, patience=20, **terms)
  if arg.full:
    return dict(epochs=500, patience=20, **terms)
  return dict(epochs=60, patience=8, **terms)


QUICK_USERS = 500  # that a first try trains and tests on


def data_block(arg: Argument, **changes: Any) -> dict:
  """Returns the data of a rating config.

  Args:
    arg: holds `data`, `quick` and perhaps the number of Amazon's `pair`.
    **changes: options that have other values than the library's defaults.
  """
  if arg.get('given'):
    return data('given', **_first_try(arg))
  kind = 'amazon' if arg.get('pair') else arg.data
  if kind == 'amazon':
    changes = dict(pair=arg.get('pair') or 1) | changes
  return data(kind, **changes, **_first_try(arg))


def implicit_block(arg: Argument) -> dict:
  """Returns the data of a ranking config; `arg` holds `data` and `quick`."""
  return data(
    'given' if arg.get('given') else f'{arg.data}_implicit', **_first_try(arg)
  )


def _first_try(arg):
  return dict(most_users=QUICK_USERS) if arg.quick else {}


def data(kind: str, **changes: Any) -> dict:
  """Returns the options of a kind of data: the library's defaults, but for `changes`.

  An option that is None may be set to a value of any type.
  """
  values = sources.defaults(kind) | changes
  return {
    name: ml_collections.config_dict.placeholder(object) if value is None else value
    for name, value in values.items()
  }


def method(
  name: str,
  /,
  *,
  model: dict,
  hyper: dict,
  search: dict | None = None,
  **settings: Any,
) -> ml_collections.ConfigDict:
  """Returns the config of a method.

  Args:
    name: name of the file in `xdomain/models/`.
    model: settings that fix shapes; another value compiles again.
    hyper: floats in the loss; traced, and swept by `config.sweep.hyper`.
    search: the space of `experiments.tune`: `hyper` and `model`, names to values.
    **settings: fields that replace the defaults below.
  """
  search = dict(hyper={}, model={}) | (search or {})
  return ml_collections.ConfigDict(
    dict(
      name=name,  # of the run folder
      method=name,
      model=model,
      hyper=hyper,
      # All combinations are trained: hyper-parameters and seeds at once where that
      # is faster, shape settings one after another. `members` lists dicts of
      # hyper-parameters instead of a product.
      sweep=dict(
        hyper=dict.fromkeys(hyper, ()),
        model=dict.fromkeys(model, ()),
        seed=(),
        members=(),
      ),
      width=0,  # members that are trained at once; 0 takes as many as fit
      mesh=(),  # devices that batches and tables are split over; by size if empty
      search=dict(trials=64, minutes=8.0) | search,
      epochs=60,  # the most of each stage
      patience=8,  # epochs without a better validation value that end a stage
      every=1,  # epochs between validations
      seed=0,  # of the split and of the training
      protocol='rating',  # what is held out and measured
      view='both',  # 'alone' is the target, 'merged' both domains as one
      reviews=False,  # make side vectors from Amazon's review texts
      split=dict(test=0.1, valid=0.1),  # shares of all ratings, and of the others
      data=data('movielens'),
      beside=dict(),  # configs by name that run on the same split
    )
    | settings
  )


def protocol_of(protocol: str, arg: Argument) -> str:
  """Returns the protocol, or that of `time`, `last` or `given` in the argument."""
  if arg.time + arg.last + arg.given > 1:
    raise ValueError("'time', 'last' and 'given' exclude each other")
  if arg.given:
    return 'given'
  if not arg.time and not arg.last:
    return protocol
  known = {
    ('time', 'leave_one_out'): 'time_split',
    ('time', 'cold_start'): 'time_cold_start',
    ('last', 'leave_one_out'): 'leave_last_out',
  }
  word = 'time' if arg.time else 'last'
  if (word, protocol) not in known:
    raise ValueError(f'{word!r} is not for protocol={protocol!r}')
  return known[word, protocol]


def ranking_method(
  name: str, /, *, protocol: str = 'leave_one_out', **settings: Any
) -> ml_collections.ConfigDict:
  """Returns the config of a method that ranks items."""
  split = dict(negatives=99)  # drawn once, the same for every method
  if protocol in ('time_split', 'time_cold_start'):
    split |= dict(test=0.1, valid=0.1)  # shares of the interactions, by time
  elif protocol in ('cold_start', 'partial'):
    split['users'] = 0.1  # share of test users; as many others are for validation
  if protocol == 'partial':
    split['shown'] = 0.5  # share of a test user's target positives that is input
  settings = dict(protocol=protocol, split=split) | settings
  return method(name, **settings)


def ranking_baseline(
  name: str, arg: Argument, /, **settings: Any
) -> ml_collections.ConfigDict:
  """Returns the config of a ranking baseline; `arg.cold` tests cold-start users.

  With `arg.time` or `arg.last` the split is by time.
  """
  run = settings.pop('name', name)
  if settings.get('view') == 'alone':
    run = f'{run}_alone'
  return ranking_method(
    name,
    name=f'{run}_cold' if arg.cold else run,
    protocol=protocol_of('cold_start' if arg.cold else 'leave_one_out', arg),
    data=implicit_block(arg),
    **settings,
  )


TABLE_ARGUMENT = dict(data=DATA, quick=False)
AMAZON_TABLE_ARGUMENT = dict(data=tuple(sorted(DATA)), quick=False)  # amazon first
RANKING = tuple(
  f'{kind} {name}@{k}'
  for kind in ('sampled', 'full')
  for name in ('hr', 'ndcg')
  for k in (5, 10, 20, 50)
)


SEARCHED = (
  'Each row is searched once, with 64 trials or 8 minutes of two cores, whichever ends'
  ' first, on data without the test items of all seeds.'
)


def by_time(arg: Argument) -> str:
  """Returns what the note of a table says of a split by time, of another nothing."""
  if not arg.time:
    return ''
  return (
    ' Training, validation and test follow each other in time, in both domains. There'
    ' is one such split, so intervals over seeds are those of training alone.'
  )


def table(
  name: str,
  arg: Argument,
  /,
  *,
  title: str,
  rows: dict[str, tuple],
  columns: dict[str, dict],
  **settings: Any,
) -> ml_collections.ConfigDict:
  """Returns the config of a table or a figure.

  Args:
    name: name of its folder for MovieLens.
    arg: holds `data` and `quick`, and perhaps `time`, which is passed to the methods.
    title: title of the table.
    rows: module of a method's config and its argument, by row.
    columns: replaced fields, by column: a dict of `terms`, and the number `x` where
      the columns are an axis.
    **settings: fields that replace the defaults below.
  """
  quick = ['quick'] if arg.quick else []
  time = ['time'] if arg.get('time') else []
  words = [arg.data] if arg.data != settings.pop('default', 'movielens') else []
  words += [*time, *quick]
  rows = {
    row: module.get_config(','.join([*given, arg.data, *time, *quick]))
    for row, (module, *given) in rows.items()
  }
  config = ml_collections.ConfigDict(
    dict(
      name='_'.join([name, *words]),
      command=f'configs/{name}.py' + ':' * bool(words) + ','.join(words),
      title=title + ' (a first try: few users and epochs)' * arg.quick,
      note='',  # above the table
      rows=tuple(rows),  # names of `methods`, in the order of the table
      methods=rows,
      columns=tuple(columns),
      on={column: dict(x=0.0, terms={}) | value for column, value in columns.items()},
      x_label='',  # label of the axis, where the columns are one
      measures=('rmse',),
      paper={},  # by row, column and measure
      seeds=(0, 1) if arg.quick else (0, 1, 2, 3, 4),
      # Settings of rows were chosen on MovieLens. On other data each row is searched
      # on each split, on the first of the columns that share it.
      tune=arg.data in ('amazon', 'tables') and not arg.quick,
    )
    | settings
  )
  # The values that the command has without further flags.
  shown = 'name', 'note', 'rows', 'columns', 'measures', 'seeds'
  config.plain = {field: config[field] for field in shown} | {
    'data': config.data.to_dict()
  }
  return config


def paper(name: str) -> dict:
  """Returns the printed numbers of 'darec' or 'sharedvae', with flags."""
  path = pathlib.Path(__file__).parent / 'papers' / f'{name}.json'
  return json.loads(path.read_text('utf-8'))


def ranked_in_paper(number: str, methods: dict[str, str], column: str) -> dict:
  """Returns printed HR and NDCG of SharedVAE, by row, column and measure.

  Args:
    number: a table, such as 'table4'.
    methods: the paper's names of rows by ours.
    column: name of our column.
  """
  printed = paper('sharedvae')[number]['rows']
  return {
    row: {
      column: {
        f'sampled {measure.lower()}': value
        for measure, value in printed[theirs].items()
      }
    }
    for row, theirs in methods.items()
  }


def statistics(
  name: str, arg: Argument, /, *, title: str, data: dict, paper: dict
) -> ml_collections.ConfigDict:
  """Returns the config of a table of counts of data sets."""
  words = [arg.data] if arg.data != 'movielens' else []
  return ml_collections.ConfigDict(
    dict(
      name='_'.join([name, *words]),
      command=f'configs/{name}.py' + ':' * bool(words) + ','.join(words),
      title=title,
      data=data,
      paper=paper,
    )
  )
