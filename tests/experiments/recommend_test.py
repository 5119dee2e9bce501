import dataclasses
import io
import re
import shutil
import sys

import numpy as np
import polars as pl
import pytest

from experiments import arguments, output, program
from tests import helpers
from xdomain import api
from xdomain.data import device, types
from xdomain.reporting import terminal
from xdomain.runs import methods, prepare, run, store
from xdomain.runs import spec as specs
from xdomain.training import loop


def train(config, folder):
  config.epochs = 2
  config = specs.from_config(config)
  given = prepare.prepare(config, say=lambda line: None)
  run.run(config, given, folder, watch=lambda report: None)
  return given


def recommended(folder, users, top, say=lambda line: None):
  """`(user, item, score)` of a run's artefact, as the command reads it."""
  trained = api.load(store.find_trained(folder))
  rows = trained.recommend(users or None, top, say=say)
  return [row[:3] for row in rows]


@pytest.fixture(scope='module')
def trained(tmp_path_factory, request):
  folder = tmp_path_factory.mktemp('run')
  config = arguments.load(
    str(request.config.rootpath / 'configs/autorec.py:item,quick,synthetic')
  )
  return folder, train(config, folder).dataset


def test_the_best_unseen_items_come_first(trained):
  folder, dataset = trained
  rows = recommended(folder, ['u3', 'u7'], top=4)
  assert [user for user, _, _ in rows] == ['u3'] * 4 + ['u7'] * 4
  for user in ('u3', 'u7'):
    predictions = [p for u, _, p in rows if u == user]
    assert predictions == sorted(predictions, reverse=True)
    assert all(1 <= p <= 5 for p in predictions)
    target = dataset.pair.target
    seen = target.item[target.user == int(user[1:])]
    assert not {i for u, i, _ in rows if u == user} & {f't{i}' for i in seen}


def test_no_more_items_than_there_are(trained):
  folder, dataset = trained
  rows = recommended(folder, ['u3'], top=10_000)
  target = dataset.pair.target
  assert len(rows) == target.n_items - np.sum(target.user == 3)


def test_the_items_of_all_users_are_written_to_a_file(trained, tmp_path):
  folder, dataset = trained
  file = tmp_path / 'top.csv'
  done = helpers.run_command('recommend', f'--run={folder}', '--top=3', f'--out={file}')
  assert done.returncode == 0, done.stderr
  users = dataset.pair.target.n_users
  rows = recommended(folder, [], top=3)
  assert [user for user, _, _ in rows[::3]] == dataset.ids.users.tolist()
  assert len(rows) == 3 * users
  assert rows[9:12] == recommended(folder, [rows[9][0]], top=3)
  table = pl.read_csv(file)
  assert table.columns == ['user', 'item', 'prediction']
  assert table['item'].to_list() == [item for _, item, _ in rows]
  assert done.stdout.startswith(f'{len(rows):,} items for {users:,} users')


def own(tmp_path, spec, **options):
  """A run on own files, and its data; p0 to p2 have no books."""
  rng = np.random.default_rng(0)
  for name, first in (('films', 0), ('books', 3)):
    everything = [(u, i) for u in range(first, 30) for i in range(20)]
    rated = [pair for pair in everything if rng.random() < 0.6]
    lines = [f'p{u},{name}{i},{rng.integers(1, 6)}\n' for u, i in rated]
    (tmp_path / f'{name}.csv').write_text('user,item,rating\n' + ''.join(lines))
  config = arguments.load(spec)
  config.data.source = str(tmp_path / 'films.csv')
  config.data.target = str(tmp_path / 'books.csv')
  config.data.update(options)
  return tmp_path / 'run', train(config, tmp_path / 'run').dataset


def test_what_somebody_rated_too_low_is_not_recommended(tmp_path):
  folder, dataset = own(tmp_path, 'configs/item_pop.py:tables,quick')
  user = str(dataset.ids.users[0])
  rows = recommended(folder, [user, user], top=100)
  text = (tmp_path / 'books.csv').read_text()
  rated = [line.split(',') for line in text.splitlines()]
  mine = {item for who, item, _ in rated if who == user}
  everything = set(dataset.ids.target.tolist())
  assert {item for _, item, _ in rows} == everything - mine
  assert len(rows) == len(everything - mine)


NEW = ['p0', 'p1', 'p2']


@pytest.mark.matrix
def test_people_who_are_new_to_the_target_are_recommended_items(tmp_path):
  folder, dataset = own(
    tmp_path,
    'configs/shared_vae.py:cold,tables,quick',
    users='source',
    at_least=2,
  )
  assert dataset.ids.users[-3:].tolist() == NEW
  rows = recommended(folder, NEW, top=100)
  assert len(rows) == 3 * 20
  first, second = ([p for u, _, p in rows if u == user] for user in NEW[:2])
  assert first != second
  everybody = {user for user, _, _ in recommended(folder, [], top=1)}
  assert everybody == set(dataset.ids.users.tolist())


def test_whom_a_method_knows_nothing_of_is_left_out(tmp_path):
  folder, dataset = own(
    tmp_path, 'configs/autorec.py:user,tables,quick', users='either'
  )
  said = []
  rows = recommended(folder, [], top=1, say=said.append)
  others = [user for user in dataset.ids.users.tolist() if user not in NEW]
  assert [user for user, _, _ in rows] == others
  why = 'without interactions that autorec reads (it reads those of the target'
  assert said.pop().startswith(f"left out: 'p0', 'p1', 'p2', {why}")
  rows = recommended(folder, ['p5', 'p1'], top=1, say=said.append)
  assert [user for user, _, _ in rows] == ['p5']
  assert said.pop().startswith(f"left out: 'p1', {why}")
  with pytest.raises(specs.SpecError, match='no user is left'):
    recommended(folder, ['p1'], top=1)


def test_somebody_of_one_domain_is_told_how_to_be_kept(tmp_path):
  folder, _ = own(tmp_path, 'configs/item_pop.py:tables,quick')
  said = []
  with pytest.raises(specs.SpecError, match='no user is left'):
    recommended(folder, ['p1'], top=1, say=said.append)
  assert re.search("'p1', not among .* data.users", said.pop())


@pytest.mark.matrix
@pytest.mark.parametrize(
  'spec',
  [
    'configs/shared_vae.py:quick,synthetic',
    'configs/autorec.py:user,quick,synthetic',
  ],
)
def test_people_are_known_by_all_they_did_held_out_or_not(spec, tmp_path):
  config = arguments.load(spec)
  given = train(config, tmp_path)
  config = specs.from_config(config)
  method = methods.of(config, given.sizes)
  state = run.restore(
    config, [given], method, tmp_path, run.give(config, [given], method)
  ).best_of()
  score, everything = (
    method.model.predict(state, device.put(pair))
    for pair in (given.split.train, given.dataset.pair)
  )
  of_u3 = given.dataset.ids.users.tolist().index('u3')
  items = given.dataset.ids.target.tolist()
  rows = recommended(tmp_path, ['u3'], top=5)
  at = np.array([[items.index(item) for _, item, _ in rows]])
  values = [value for _, _, value in rows]
  shown = everything(np.array([of_u3]), at)[0]
  np.testing.assert_allclose(values, shown, rtol=1e-4)
  of_training = np.asarray(score(np.array([of_u3]), at)[0])
  assert np.abs(of_training - shown).max() > 1e-3


def test_items_beyond_the_scale_are_told_apart(trained):
  folder, _ = trained
  before = recommended(folder, ['u3'], top=5)
  model = api.load(store.find_trained(folder))
  narrow = dataclasses.replace(model, dataset=model.dataset._replace(scale=(1, 1.5)))
  after = narrow.recommend(['u3'], top=5)
  assert [row.item for row in after] == [item for _, item, _ in before]
  assert {row.score for row in after} == {1.5}


def test_unknown_users_are_answered_with_some_that_are_known(trained):
  said = []
  rows = recommended(trained[0], ['3', 'u3', '4', '5', '6'], top=2, say=said.append)
  assert [user for user, _, _ in rows] == ['u3', 'u3']
  assert said[0].startswith(
    "left out: '3', '4', '5' and 1 more, not among the 300 users"
  )


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path):
  with pytest.raises(specs.SpecError, match='not the folder of a run'):
    recommended(tmp_path, ['u3'], top=1)


def test_a_run_that_has_not_ended_is_not_asked(trained, tmp_path):
  folder = shutil.copytree(trained[0], tmp_path / 'run')
  (folder / 'records.jsonl').unlink()
  shutil.rmtree(folder / 'model')
  with pytest.raises(specs.SpecError, match='an unfinished run; the same'):
    recommended(folder, ['u3'], top=1)


def test_a_run_that_diverged_says_so(tmp_path):
  config = arguments.load('configs/autorec.py:quick,synthetic')
  config.hyper.lr = 1e30
  with pytest.raises(loop.Diverged):
    train(config, tmp_path)
  with pytest.raises(specs.SpecError, match='the loss is not finite'):
    recommended(tmp_path, ['u3'], top=1)


@pytest.mark.parametrize(
  'words, ids',
  [
    ([], []),
    (['a', '', ' b '], ['a', 'b']),
    (['@ids.txt'], ['a', 'b c']),
    (['@ids.txt', 'd'], ['@ids.txt', 'd']),
  ],
)
def test_ids_may_stand_in_a_file(words, ids, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'ids.txt').write_text('\ufeffa\r\n\nb c \n', 'utf-8')
  assert arguments.ids('users', words) == ids


def test_a_file_without_ids_does_not_mean_everybody(tmp_path):
  (tmp_path / 'ids.txt').write_text('\n')
  with pytest.raises(specs.SpecError, match='holds no id'):
    arguments.ids('users', [f'@{tmp_path / "ids.txt"}'])


@pytest.mark.parametrize(
  'name, read',
  [
    ('top.csv', pl.read_csv),
    ('top.json', pl.read_json),
    ('new/top.parquet', pl.read_parquet),
  ],
)
def test_files_are_of_the_kind_that_they_are_called(name, read, tmp_path):
  path = output.writable(tmp_path / name)
  rows = [('u', 'a,b', 3.5), ('u', 'c', 1 / 3)]
  output.write_recommendations(path, [api.Recommendation(*row) for row in rows])
  assert read(path).rows() == [
    ('u', 'a,b', 3.5),
    ('u', 'c', pytest.approx(1 / 3)),
  ]
  assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
  'name, says', [('top.xlsx', r'written as \.csv'), ('a.csv', 'is a folder')]
)
def test_what_cannot_be_written_is_refused_at_once(name, says, tmp_path):
  (tmp_path / 'a.csv').mkdir()
  with pytest.raises(specs.SpecError, match=says):
    output.writable(tmp_path / name)


@pytest.mark.parametrize(
  'words, says',
  [
    (['--users', '8', '19'], "unexpected word '19'"),
    (['--user=8'], "Unknown command line flag 'user'"),
    (['--top=0'], 'Flag --top'),
  ],
)
def test_wrong_words_are_answered_in_one_line(words, says):
  done = helpers.run_command('recommend', '--run=r', *words)
  assert done.returncode == 2 and done.stdout == ''
  assert done.stderr.lower().startswith('error: ' + says.lower()[:4])
  assert says.lower() in done.stderr.lower() and done.stderr.count('\n') == 1


@pytest.mark.matrix
def test_new_users_are_recommended_items_by_what_is_shown(tmp_path):
  config = arguments.load('configs/shared_vae.py:shared,quick,synthetic')
  config.update(protocol='partial', split=dict(negatives=99, users=0.1, shown=0.5))
  given = train(config, tmp_path)
  new = int(given.split.test.target.user[0])
  model = api.load(store.find_trained(tmp_path))
  assert (model.train.target.user == new).any()
  assert model.recommend([str(given.dataset.ids.users[new])], top=5)


def test_a_run_is_found_by_its_name_or_its_hash(trained, tmp_path):
  for name in ('darec_item-seed0-abc', 'darec_item-seed1-def', 'bias-seed0-123'):
    (tmp_path / name).mkdir()
  shutil.copytree(trained[0] / 'model', tmp_path / 'darec_item-seed1-def' / 'model')
  expected = tmp_path / 'darec_item-seed1-def' / 'model'
  for name in ('darec_item', 'def', 'darec_item-seed1'):
    assert store.find_trained(name, tmp_path) == expected
  with pytest.raises(specs.SpecError, match="did you mean 'darec_item'"):
    store.find_trained('darec_itm', tmp_path)


def test_ids_in_utf_16_are_read_and_other_encodings_are_named(tmp_path):
  (tmp_path / 'ids.txt').write_text('ann\nbüb\n', 'utf-16')
  words = [f'@{tmp_path / "ids.txt"}']
  assert arguments.ids('users', words) == ['ann', 'büb']
  (tmp_path / 'ids.txt').write_bytes('büb'.encode('latin-1'))
  with pytest.raises(types.DataError, match='is not UTF-8'):
    arguments.ids('users', words)


def test_an_id_that_begins_with_an_at_sign_can_be_given(tmp_path):
  with pytest.raises(specs.SpecError, match=r'no file u0; for the id .@u0. itself'):
    arguments.ids('users', ['@u0'])
  assert arguments.ids('users', ['@u0', '']) == ['@u0']


def test_a_console_that_cannot_show_an_id_gets_an_escape(monkeypatch):
  raw = io.BytesIO()
  console = io.TextIOWrapper(raw, encoding='ascii', newline='\n')
  monkeypatch.setattr(sys, 'stdout', console)
  with program.running():
    output.show_recommendations([api.Recommendation('büb', 'i', 1.0, True)])
    terminal.Terminal().say('films/é.csv')
    console.flush()
  assert raw.getvalue() == b'b\\xfcb\ti\t1\tpopular\nfilms/\\xe9.csv\n'


def test_output_that_cannot_be_written_is_one_line(monkeypatch, capsys):
  rows = [api.Recommendation('u1', 't1', 1.0, False)] * 1000
  with open('/dev/full', 'w') as full, monkeypatch.context() as patch:
    patch.setattr(sys, 'stdout', full)
    with pytest.raises(SystemExit):
      output.show_recommendations(rows)
  assert capsys.readouterr().err.startswith('error: the output cannot be written: No')
  with monkeypatch.context() as patch:
    patch.setattr(sys, 'stdout', None)
    output.show_recommendations(rows)
