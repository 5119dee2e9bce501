"""Values that the first of several processes makes, and that all of them have.

The first process alone reads, splits and sorts data. Its arrays go through files in the
folder of runs, which every process maps: of interactions that are sorted by user, a
process then reads the share of its own devices. The rest of a value goes through the
coordinator of `jax.distributed`.
"""

import contextlib
import functools
import io
import pathlib
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from xdomain import files
from xdomain.data import cache
from xdomain.runs import hosts
from xdomain.runs import spec as specs

F = TypeVar('F', bound=Callable)
_PREFIX = 'shared-'  # of the folder of arrays; it is removed when a run ends
_SECONDS = 1  # of a wait, after which Python handles signals
_HEARD = 10  # seconds in which the other processes hear of an error
_DAY = 24 * 3600
_SCALAR, *_ = np.float64(0).__reduce__()  # numpy's function that makes a number


class _State:
  workdir: pathlib.Path | None = None  # None where values are not shared
  folder: pathlib.Path | None = None  # that the first process writes arrays to
  made = 0  # values until now, which are the same in every process
  making = False  # whether the first process makes one


@contextlib.contextmanager
def opened(workdir: pathlib.Path) -> Iterator[None]:
  """A context in which several processes share the values of `once`.

  Args:
    workdir: a folder that all hosts have. The first process keeps arrays in it until
      all processes leave the context; those of a killed run are removed by the next.
  """
  if jax.process_count() == 1:
    yield
    return
  with contextlib.ExitStack() as stack:
    if hosts.first():
      workdir.mkdir(parents=True, exist_ok=True)
      _remove_left_behind(workdir)
      made = tempfile.TemporaryDirectory(
        prefix=_PREFIX,
        dir=workdir,
        ignore_cleanup_errors=True,  # NFS keeps a mapped file until it is closed.
      )
      _State.folder = pathlib.Path(stack.enter_context(made))
      files.lock(stack.enter_context((_State.folder / 'lock').open('w')))
    _State.workdir = workdir
    try:
      yield
      _client().wait_at_barrier(f'xdomain/{_State.made}/end', 1000 * _DAY)
    finally:
      _State.workdir = None


def _remove_left_behind(workdir):
  """Removes the arrays of runs that were killed: nothing holds their locks."""
  for folder in workdir.glob(f'{_PREFIX}*'):
    with contextlib.suppress(FileNotFoundError), (folder / 'lock').open('w') as lock:
      if files.lock(lock):
        shutil.rmtree(folder, ignore_errors=True)


def once(function: F) -> F:
  """The function, which the first process alone calls, and whose value all have.

  Its arrays, also those on a device, are on the host and read-only. Text, such as raw
  ids, stays with the first process: the others have None in its place. An exception is
  raised in every process. Where values are not shared (`opened`), and within such a
  function, every process calls it for itself.
  """

  @functools.wraps(function)
  def called(*args, **kwargs):
    if _State.workdir is None or _State.making:
      return function(*args, **kwargs)
    _State.made += 1
    key = f'xdomain/{_State.made}'
    texts, error = [], None
    if hosts.first():
      _State.making = True
      try:
        sent = _packed(function(*args, **kwargs), texts)
      except BaseException as raised:
        sent, error = _of_error(raised), raised
      finally:
        _State.making = False
      _client().key_value_set_bytes(key, sent)
    else:
      sent = _received(key)
    value = _Unpickler(sent, texts).load()
    if isinstance(value, BaseException):
      with contextlib.suppress(jax.errors.JaxRuntimeError):
        _client().wait_at_barrier(f'{key}/heard', 1000 * _HEARD)
      if error is not None:  # The coordinator, without which jax ends the others.
        time.sleep(_SECONDS)
      raise error or value
    return value

  return called  # pyright: ignore[reportReturnType]


def _client() -> Any:
  """The process's side of the coordinator; jax exports none of its key-value store."""
  from jax._src import distributed

  return distributed.global_state.client


def _received(key) -> bytes:
  while True:
    try:
      return _client().blocking_key_value_get_bytes(key, 1000 * _SECONDS)
    except jax.errors.JaxRuntimeError as error:
      if 'DEADLINE_EXCEEDED' not in str(error):
        raise


def _packed(value, texts) -> bytes:
  file = io.BytesIO()
  _Pickler(file, texts).dump(value)
  return file.getvalue()


def _of_error(error) -> bytes:
  """The error, as other processes raise it."""
  try:
    sent = pickle.dumps(error)
    _Unpickler(sent).load()
    return sent
  except Exception:  # It is of another library.
    return pickle.dumps(RuntimeError(str(error)))


class _Pickler(pickle.Pickler):
  """Pickles a value without its arrays, which it writes to files or, of text, lists."""

  def __init__(self, file, texts):
    super().__init__(file)
    self._texts = texts

  def persistent_id(self, obj):
    if not isinstance(obj, np.ndarray | jax.Array):
      return None
    if isinstance(obj.dtype, np.dtypes.StringDType):
      self._texts.append(obj)
      return len(self._texts) - 1
    assert _State.folder is not None
    # The same interactions are part of many values, such as of each member's test.
    path = _State.folder / f'{cache.sha256(np.asarray(obj))}.npy'
    if not path.exists():
      np.save(path, np.asarray(obj))
    return f'{_State.folder.name}/{path.name}'


class _Unpickler(pickle.Unpickler):
  """Takes what `_Pickler` pickled, with its arrays mapped.

  It makes nothing else, as the coordinator does not know who writes to it.
  """

  def __init__(self, sent, texts=()):
    super().__init__(io.BytesIO(sent))
    self._texts = texts

  def find_class(self, module, name):
    found = super().find_class(module, name)
    a_class = isinstance(found, type)
    ours = a_class and module.startswith('xdomain.')
    error = a_class and module == 'builtins' and issubclass(found, BaseException)
    number = found in (np.dtype, _SCALAR)
    if not (ours or error or number):
      raise pickle.UnpicklingError(f'{module}.{name} is no part of a shared value')
    return found

  def persistent_load(self, pid):
    if isinstance(pid, int):
      return self._texts[pid] if self._texts else None
    assert _State.workdir is not None
    try:
      return np.asarray(np.load(_State.workdir / pid, mmap_mode='r'))
    except FileNotFoundError:
      raise specs.SpecError(
        f'{_State.workdir / pid}, which the first process wrote, is not there; give all'
        ' processes one workdir, on a file system that their hosts share'
      ) from None
