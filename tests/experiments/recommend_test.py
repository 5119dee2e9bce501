import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from experiments import arguments, recommend
from xdomain import files
from xdomain.data import device
from xdomain.evaluation import rankings
from xdomain.runs import methods, prepare, run, store
from xdomain.runs import spec as specs
from xdomain.training import loop


def train(config, folder):
  config.epochs = 2
  config = specs.from_config(config)
  given = prepare.prepare(config, say=lambda line: None)
  run.run(config, given, folder, watch=lambda report: None)
  return given


@pytest.fixture(scope='module')
def trained(tmp_path_factory, request):
  folder = tmp_path_factory.mktemp('run')
  config = arguments.load(str(request.config.rootpath / 'configs/darec.py:item,quick'))
  return folder, train(config, folder).dataset


def test_the_best_unseen_items_come_first(trained):
  folder, dataset = trained
  rows = recommend.recommend(folder, ['u3', 'u7'], top=4)
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
  rows = recommend.recommend(folder, ['u3'], top=10_000)
  target = dataset.pair.target
  assert len(rows) == target.n_items - np.sum(target.user == 3)


def test_all_users_are_asked_for_in_a_file(trained, tmp_path, request):
  folder, dataset = trained
  file = tmp_path / 'top.csv'
  command = f'-m experiments.recommend --run={folder} --top=3 --out={file}'
  done = subprocess.run(
    [sys.executable, *command.split()],
    cwd=request.config.rootpath,
    capture_output=True,
    text=True,
    check=True,
  )
  users = dataset.pair.target.n_users
  rows = recommend.recommend(folder, [], top=3)
  assert [user for user, _, _ in rows[::3]] == dataset.ids.users.tolist()
  assert len(rows) == 3 * users
  assert rows[9:12] == recommend.recommend(folder, [rows[9][0]], top=3)
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
  rows = recommend.recommend(folder, [user, user], top=100)
  text = (tmp_path / 'books.csv').read_text()
  rated = [line.split(',') for line in text.splitlines()]
  mine = {item for who, item, _ in rated if who == user}
  everything = set(dataset.ids.target.tolist())
  assert {item for _, item, _ in rows} == everything - mine
  assert len(rows) == len(everything - mine)


NEW = ['p0', 'p1', 'p2']


def test_people_who_are_new_to_the_target_are_recommended_items(tmp_path):
  folder, dataset = own(
    tmp_path,
    'configs/shared_vae.py:cold,tables,quick',
    users='source',
    at_least=2,
  )
  assert dataset.ids.users[-3:].tolist() == NEW
  rows = recommend.recommend(folder, NEW, top=100)
  assert len(rows) == 3 * 20
  first, second = ([p for u, _, p in rows if u == user] for user in NEW[:2])
  assert first != second
  everybody = {user for user, _, _ in recommend.recommend(folder, [], top=1)}
  assert everybody == set(dataset.ids.users.tolist())


def test_whom_a_method_knows_nothing_of_is_left_out(tmp_path):
  folder, dataset = own(
    tmp_path, 'configs/autorec.py:user,tables,quick', users='either'
  )
  said = []
  rows = recommend.recommend(folder, [], top=1, say=said.append)
  others = [user for user in dataset.ids.users.tolist() if user not in NEW]
  assert [user for user, _, _ in rows] == others
  why = 'without events that autorec could know them by, as it reads'
  assert said.pop().startswith(f"left out: 'p0', 'p1', 'p2', {why}")
  rows = recommend.recommend(folder, ['p5', 'p1'], top=1, say=said.append)
  assert [user for user, _, _ in rows] == ['p5']
  assert said.pop().startswith(f"left out: 'p1', {why}")
  with pytest.raises(specs.SpecError, match='nobody left'):
    recommend.recommend(folder, ['p1'], top=1)


def test_somebody_of_one_domain_is_told_how_to_be_kept(tmp_path):
  folder, _ = own(tmp_path, 'configs/item_pop.py:tables,quick')
  said = []
  with pytest.raises(specs.SpecError, match='nobody left'):
    recommend.recommend(folder, ['p1'], top=1, say=said.append)
  assert re.search("'p1', not among .* config.data.users", said.pop())


@pytest.mark.parametrize(
  'spec', ['configs/autorec.py:user,quick', 'configs/shared_vae.py:quick']
)
def test_people_are_known_by_all_they_did_held_out_or_not(spec, tmp_path):
  config = arguments.load(spec)
  given = train(config, tmp_path)
  config = specs.from_config(config)
  method = methods.of(config, given.sizes)
  state = run.restore(
    config, [given], method, tmp_path, run.give(config, [given], method)
  ).best
  score, everything = (
    method.model.predict(state, device.put(pair))
    for pair in (given.split.train, given.dataset.pair)
  )
  of_u3 = given.dataset.ids.users.tolist().index('u3')
  items = given.dataset.ids.target.tolist()
  rows = recommend.recommend(tmp_path, ['u3'], top=5)
  at = np.array([[items.index(item) for _, item, _ in rows]])
  values = [value for _, _, value in rows]
  shown = everything(np.array([of_u3]), at)[0]
  np.testing.assert_allclose(values, shown, rtol=1e-4)
  of_training = np.asarray(score(np.array([of_u3]), at)[0])
  assert np.abs(of_training - shown).max() > 1e-3


def test_items_beyond_the_scale_are_told_apart(trained, monkeypatch):
  folder, dataset = trained
  before = recommend.recommend(folder, ['u3'], top=5)
  prepared = prepare.prepare(store.read_spec(folder), say=lambda line: None)
  narrow = prepared._replace(dataset=dataset._replace(scale=(1, 1.5)))
  monkeypatch.setattr(prepare, 'prepare', lambda *args, **kwargs: narrow)
  after = recommend.recommend(folder, ['u3'], top=5)
  assert [item for _, item, _ in after] == [item for _, item, _ in before]
  assert {value for _, _, value in after} == {1.5}


def test_unknown_users_are_answered_with_some_that_are_known(trained):
  said = []
  rows = recommend.recommend(
    trained[0], ['3', 'u3', '4', '5', '6'], top=2, say=said.append
  )
  assert [user for user, _, _ in rows] == ['u3', 'u3']
  assert said[0].startswith(
    "left out: '3', '4', '5' and 1 more, not among the 300 people, such as u"
  )


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path):
  with pytest.raises(specs.SpecError, match='not the folder of a run'):
    recommend.recommend(tmp_path, ['u3'], top=1)


def test_a_run_that_has_not_ended_is_not_asked(trained, tmp_path):
  folder = shutil.copytree(trained[0], tmp_path / 'run')
  (folder / 'records.jsonl').unlink()
  with pytest.raises(specs.SpecError, match='has not ended; its command'):
    recommend.recommend(folder, ['u3'], top=1)


def test_a_run_that_diverged_says_so(tmp_path):
  config = arguments.load('configs/autorec.py:quick')
  config.hyper.lr = 1e30
  with pytest.raises(loop.Diverged):
    train(config, tmp_path)
  with pytest.raises(specs.SpecError, match='the loss is not finite'):
    recommend.recommend(tmp_path, ['u3'], top=1)


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
  assert recommend._ids(words) == ids


def test_a_file_without_ids_does_not_mean_everybody(tmp_path):
  (tmp_path / 'ids.txt').write_text('\n')
  with pytest.raises(specs.SpecError, match='no id in it'):
    recommend._ids([f'@{tmp_path / "ids.txt"}'])


@pytest.mark.parametrize(
  'name, read',
  [
    ('top.csv', pl.read_csv),
    ('top.json', pl.read_json),
    ('new/top.parquet', pl.read_parquet),
  ],
)
def test_files_are_of_the_kind_that_they_are_called(name, read, tmp_path):
  path = recommend._writable(tmp_path / name)
  recommend._write(path, [('u', 'a,b', 3.5), ('u', 'c', 1 / 3)])
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
    recommend._writable(tmp_path / name)


@pytest.mark.parametrize(
  'words, says',
  [
    (['--users', '8', '19'], "unexpected word '19'"),
    (['--user=8'], "Unknown command line flag 'user'"),
    (['--top=0'], 'Flag --top'),
  ],
)
def test_wrong_words_are_answered_in_one_line(words, says, request):
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.recommend', '--run=r', *words],
    cwd=request.config.rootpath,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2 and done.stdout == ''
  assert done.stderr.lower().startswith('error: ' + says.lower()[:4])
  assert says.lower() in done.stderr.lower() and done.stderr.count('\n') == 1


def test_a_run_on_other_data_than_there_is_now_is_not_asked(trained, tmp_path):
  folder = shutil.copytree(trained[0], tmp_path / 'run')
  (record,) = files.read(folder / 'records.jsonl')
  record['hashes']['data'] = 'other'
  files.write(folder / 'records.jsonl', files.line(record))
  with pytest.raises(specs.SpecError, match='has changed since; put the data'):
    recommend.recommend(folder, ['u3'], top=1)


def noted(monkeypatch):
  """What `ranking.best` is called with."""
  calls, best = [], rankings.best

  def noting(model, state, seen, *args, trained_on):
    calls.append((seen, trained_on))
    return best(model, state, seen, *args, trained_on=trained_on)

  monkeypatch.setattr(rankings, 'best', noting)
  return calls


def test_the_best_epoch_recommends_with_the_fallback_of_ratings(tmp_path, monkeypatch):
  train(arguments.load('configs/bias.py:quick'), tmp_path)
  calls, restore = noted(monkeypatch), run.restore
  before = recommend.recommend(tmp_path, ['u3'], top=5)
  monkeypatch.setattr(run, 'restore', lambda *args: restore(*args)._replace(state=None))
  assert recommend.recommend(tmp_path, ['u3'], top=5) == before
  everything, trained_on = (seen.target.by_user.n_entries for seen in calls[0])
  assert trained_on < everything


def test_new_people_are_recommended_items_by_what_is_shown(tmp_path, monkeypatch):
  config = arguments.load('configs/shared_vae.py:shared,quick')
  config.update(protocol='partial', split=dict(negatives=99, users=0.1, shown=0.5))
  given = train(config, tmp_path)
  new = int(given.split.test.target.user[0])
  calls = noted(monkeypatch)
  name = str(given.dataset.ids.users[new])
  recommend.recommend(tmp_path, [name], top=5)
  ((seen, trained_on),) = calls
  assert seen.target.by_user.length[new] > 0 and trained_on is None
