"""Every config builds what it says, and its quick form runs."""

import functools
import json
import pathlib
import re
import shlex

import jax
import pytest

from configs import common, shared_vae
from experiments import arguments
from tests import helpers
from xdomain import base
from xdomain.reporting import table_config, terminal
from xdomain.runs import methods, prepare, run, tables, tune
from xdomain.runs import spec as specs

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(
  f'configs/{path.name}'
  for path in (ROOT / 'configs').glob('*.py')
  if path.stem not in ('__init__', 'common')
)
OF_MOVIELENS = 'configs/genre_table.py'
TABLES = [text for text in FILES if re.search('_(table|figure|latent|ablation)', text)]
CONFIGS = [text for text in FILES if text not in TABLES]
VARIANTS = {
  'configs/autorec.py': ['item', 'user'],
  'configs/darec.py': ['item', 'user'],
  'configs/biased_mf.py': ['explicit', 'implicit', 'explicit,sgd'],
  'configs/pmf.py': ['adam', 'sgd'],
  'configs/cmf.py': ['adam', 'als'],
  'configs/fm_cdcf.py': ['mcmc', 'adam'],
  'configs/rbm.py': ['item', 'user'],
  'configs/cf_nade.py': ['item', 'user'],
  'configs/shared_vae.py': list(shared_vae.VARIANTS),
  'configs/bpr.py': ['merged', 'alone', 'cold'],
  'configs/emcdr.py': ['all', 'cold_only', 'cold'],
  'configs/mlp.py': ['merged', 'cold'],
  'configs/conet.py': ['conet', 'sconet'],
  'configs/item_pop.py': ['movielens', 'cold'],
  'configs/ease.py': ['merged', 'alone', 'cold'],
  'configs/ridge.py': ['movielens', 'cold'],
}
CASES = [
  f'{config}:{word}'
  for config in CONFIGS
  for word in VARIANTS.get(config, ['movielens'])
]
# With those whose search space or selected values no other case has.
SEARCHED = CASES + [
  'configs/cmf_implicit.py:cold',
  'configs/conet.py:cold',
  'configs/conet_rating.py:random',
  'configs/emcdr.py:cold_only,cold',
  'configs/ials.py:cold',
  'configs/item_knn.py:cold',
  'configs/mlp.py:alone',
  'configs/mult_vae.py:cold',
]
NOTHING_TO_TUNE = ('item_pop',)
# One for each protocol; every other case is in the matrix.
TRIED = (
  'configs/bias.py:movielens',
  'configs/item_pop.py:movielens',
  'configs/ease.py:cold',
)


def marked(cases):
  """All cases: TRIED in the default suite, the first of each config optimised too."""
  assert set(TRIED) <= set(cases)
  first = {case.partition(':')[0]: case for case in reversed(cases)}.values()
  return [
    pytest.param(
      case,
      marks=[pytest.mark.matrix] * (case not in TRIED)
      + [pytest.mark.optimised] * (case in first),
    )
    for case in cases
  ]


@pytest.mark.parametrize('text', CONFIGS + CASES)
def test_a_config_builds_its_model(text):
  config = arguments.load(text)
  method = methods.of(specs.from_config(config), helpers.small().sizes)
  assert isinstance(method.model, base.Model)
  assert len(method.members) == 1
  # Its settings give shapes that the first stage can be made of.
  first, data = method.model.stages[0], helpers.small().data
  assert jax.eval_shape(first.init, jax.random.key(0), data, method.hyper, ())


@pytest.mark.parametrize('text', marked(CASES))
def test_the_quick_form_runs_and_is_recorded(text, tmp_path):
  config = arguments.load(f'{text.replace("movielens", "synthetic")},synthetic,quick')
  config.epochs = 2
  spec = specs.from_config(config)
  prepared = prepare.prepare(spec, say=lambda line: None)
  (record,) = run.run(spec, prepared, tmp_path, watch=lambda report: None)
  if config.protocol == 'rating':
    assert record['test']['rmse'] < 2
  else:
    assert record['test']['sampled']['hr@50'] > 0.3
  assert record['hyper'] == config.hyper.to_dict()


@pytest.mark.parametrize('text', CASES)
def test_every_hyper_parameter_of_the_method_is_in_its_config(text):
  config = arguments.load(text)
  module = methods.module(config.method)
  assert set(config.hyper) == set(module.Hyper._fields)


@pytest.mark.parametrize('text', CASES)
def test_the_configs_beside_are_given_the_same_variant(text):
  config = arguments.load(text)
  for other in config.beside.values():
    if 'axis' in other.model:
      assert other.model.axis == config.model.axis


def searched(config):
  """Every (space, what is selected) of a config: hyper-parameters, settings."""
  return (
    (config.search.hyper.to_dict(), config.hyper),
    (config.search.model.to_dict(), config.model),
  )


@pytest.mark.parametrize('text', SEARCHED)
def test_the_search_space_holds_what_is_selected(text):
  for space, selected in searched(arguments.load(text)):
    assert set(space) <= set(selected)
    for name, values in space.items():
      value = selected[name]
      if tune.is_range(values):
        _, low, high = values
        assert {type(low), type(high)} == {float}
        assert low <= value <= high or not value, name
      else:
        assert list(values) == sorted(set(values))
        assert {type(each) for each in values} == {type(value)}


@pytest.mark.parametrize('text', SEARCHED)
def test_every_method_is_given_the_same_budget_and_a_space_of_decades(text):
  config = arguments.load(text)
  spaces = [values for space, _ in searched(config) for values in space.values()]
  assert (config.search.trials, config.search.minutes) == (64, 8.0)
  if config.method in NOTHING_TO_TUNE:
    assert not spaces
  else:
    ranges = [values for values in spaces if values[0] == 'log']
    assert ranges and all(high >= 10 * low for _, low, high in ranges)


# Methods in another role, which keep the settings of their first.
KEPT = {
  'shared_vae_aux': 'shared_vae',
  'shared_vae_generic': 'shared_vae',
  'shared_vae_partial': 'shared_vae',
  'shared_vae_mmd0': 'shared_vae',
  'shared_vae_beta0': 'shared_vae',
  'shared_vae_single0': 'shared_vae_single',
  'shared_vae_single_fair': 'shared_vae_single',
  'shared_vae_single_fair0': 'shared_vae_single',
  'shared_vae_merged0': 'shared_vae_merged',
}


@pytest.mark.parametrize('text', TABLES)
def test_rows_have_the_settings_that_their_searches_chose(text):
  table = arguments.load(text)
  if 'methods' not in table or table.tune:
    pytest.skip('its rows are data sets, or searched for when it is made')
  for row, config in table.methods.items():
    if tune.is_empty(specs.from_config(config)):
      continue
    name = KEPT.get(config.name, config.name)
    found = json.loads((ROOT / f'results/searches/{name}.json').read_text())
    (best, *_), taken_away = found['trials'], ('mu', 'domain', 'beta', 'align')
    for name, value in (best['hyper'] | best['model']).items():
      ours = (config.hyper if name in best['hyper'] else config.model)[name]
      without = name in taken_away and not ours
      assert ours == value or without, (row, name)


@functools.cache
def configs_by_name():
  return {config.name: config for config in map(arguments.load, SEARCHED)}


@pytest.mark.parametrize('path', sorted(ROOT.glob('results/searches/*.json')))
def test_a_search_that_is_kept_is_of_a_config_and_is_best_first(path):
  found = json.loads(path.read_text())
  assert not tune.fault_of(found)
  name = re.sub(r'_seed\d+$', '', path.stem)
  config = configs_by_name()[name]
  assert (found['config']['name'], found['config']['method']) == (name, config.method)
  whole = max(trial.get('epochs', 0) for trial in found['trials'])
  values = [
    trial['valid'] for trial in found['trials'] if trial.get('epochs', 0) == whole
  ]
  higher = config.protocol != 'rating'
  assert values == sorted(values, reverse=higher)


@pytest.mark.parametrize(
  ('variant', 'ablated'),
  [
    ('mmd0', 'align'),
    ('beta0', 'beta'),
    ('single0', 'beta'),
    ('single_fair0', 'beta'),
    ('merged0', 'beta'),
  ],
)
def test_an_ablation_is_not_searched_for_what_it_leaves_out(variant, ablated):
  config = arguments.load(f'configs/shared_vae.py:{variant}')
  assert config.hyper[ablated] == 0
  assert ablated not in config.search.hyper


@pytest.mark.parametrize('data', ['movielens', 'amazon'])
@pytest.mark.parametrize('text', TABLES)
def test_every_cell_of_a_table_builds_its_model(text, data):
  if (text, data) == (OF_MOVIELENS, 'amazon'):
    pytest.skip('its pairs are of MovieLens')
  config = arguments.load(f'{text}:{data}')
  assert config.title
  if 'methods' not in config:
    pytest.skip('its rows are data sets')
  for cell in tables.cells(table_config.from_config(config)).values():
    methods.of(cell, helpers.small().sizes)
    assert cell.data['kind'].startswith(data)


@pytest.mark.matrix
@pytest.mark.parametrize('text', TABLES)
def test_the_quick_form_of_a_table_is_filled(text, tmp_path):
  config = arguments.load(text)
  if 'methods' not in config or text == OF_MOVIELENS:
    pytest.skip('its rows, or its columns, are data sets')
  config = arguments.load(f'{text}:synthetic,quick')
  config.update(seeds=(0,), rows=config.rows[-1:], columns=config.columns[:2])
  config.methods[config.rows[0]].epochs = 2
  table = table_config.from_config(config)
  tables.fill(table, tmp_path / 'runs', tmp_path, terminal.Terminal())
  text = (tmp_path / config.name / 'table.md').read_text()
  assert re.search(r'\*\*0\.\d{4}\*\*', text)
  assert (tmp_path / config.name / 'plot.png').exists()


@pytest.mark.parametrize('text', CONFIGS)
def test_quick_is_a_first_try_on_the_named_data(text):
  for word in ('', ',tables', ',amazon'):
    whole, quick = (arguments.load(f'{text}:{w}') for w in (word, f'quick{word}'))
    assert (whole.data.most_users, quick.data.most_users) == (0, common.QUICK_USERS)
    assert quick.data.kind == whole.data.kind
    assert quick.epochs <= whole.epochs


def commands():
  """Every command with a config, of the README and of the configs."""
  files = [ROOT / 'README.md', *(ROOT / 'configs').glob('*.py')]
  text = '\n'.join(path.read_text() for path in files if path.exists())
  text = text.replace('\\\n', ' ')
  return sorted(set(re.findall(r'python -m experiments\.\w+ --config=[^\n`#|]*', text)))


@pytest.mark.parametrize('command', commands())
def test_a_documented_command_names_a_config_and_its_fields(command):
  words = shlex.split(command.split('&&')[0])
  arguments.check_config(words[2:])


def test_there_are_documented_commands():
  assert len(commands()) > 5


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('configs/darec.py:itm', "'itm' is not known; did you mean 'item'"),
    ('configs/darec.py:pair=x', "pair is 'x', which is not of type int"),
    ('configs/darec.py:axis=usr', "axis is 'usr'; did you mean 'user'"),
    ('configs/darc.py', "does not exist; did you mean 'configs/darec.py'"),
    ('configs/__init__.py', 'no function get_config'),
  ],
)
def test_a_wrong_argument_is_answered_with_what_would_do(text, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    arguments.load(text)


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    ('def get_config(:', ', line 1: SyntaxError: invalid syntax'),
    ('import nothing_here', ", line 1: ModuleNotFoundError: No module named 'nothing"),
    ('def get_config():\n  return 1 / 0', ', line 2: ZeroDivisionError: division by'),
    (
      'def get_config():\n  return 3',
      ': get_config returns int; it must return a Conf',
    ),
    ('\0', 'Error: source code'),  # Python's error before 3.11.4 is a ValueError.
    ('raise ValueError("no")', ', line 1: ValueError: no'),
  ],
)
def test_an_error_in_a_config_is_one_line(body, message, tmp_path):
  (tmp_path / 'own.py').write_text(body)
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    arguments.load(str(tmp_path / 'own.py'))
  assert str(tmp_path / 'own.py') in str(error.value)


def test_amazon_is_chosen_by_the_number_of_the_pair():
  data = arguments.load('configs/darec.py:item,pair=3').data
  assert (data.kind, data.pair) == ('amazon', 3)
