"""The bytes and lines of a file, unpacked if it is compressed.

Every failure is a `DataError` that names the file. The type of a file is
recognised by its first bytes, whatever its name.
"""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import pathlib
import re
import zipfile
import zlib
from collections.abc import Iterator

from xdomain.data.types import DataError

# A small file must not fill the memory: more than this is refused.
_MOST_TIMES, _ALWAYS_FINE = 50, 1 << 26
_CHUNK = 1 << 24
_UNREADABLE = {
  b'\x28\xb5\x2f\xfd': 'compressed by Zstandard; unpack it first',
  b'7z\xbc\xaf\x27\x1c': 'a 7z archive; unpack it first',
  b'Rar!': 'a RAR archive; unpack it first',
  b'\xd0\xcf\x11\xe0': 'an Excel workbook; save the sheet as CSV',
  b'ARROW1': 'an Arrow file; save the table as Parquet or CSV',
  b'Obj\x01': 'an Avro file; save the table as Parquet or CSV',
  b'SQLite format 3': 'an SQLite database; save the table as CSV',
}
_DAMAGED = (
  EOFError,
  gzip.BadGzipFile,
  lzma.LZMAError,
  zipfile.BadZipFile,
  zlib.error,
  MemoryError,
  NotImplementedError,  # a zip member of foreign compression
  OverflowError,
  RuntimeError,  # an encrypted one
  ValueError,
)


def check_is_file(path: pathlib.Path) -> None:
  """Raises a DataError unless `path` is a file with something in it."""
  try:
    if not path.is_file():
      what = 'is not a regular file' if path.exists() else 'there is no such file'
      what = 'is a folder' if path.is_dir() else what
      if re.match(r'(https?|ftp|s3|gs|hdfs):/', str(path)):
        raise DataError(f'{path}: an address; download the file and name it')
      raise DataError(
        f'{path}: {what}; paths are relative to the working directory,'
        f' {pathlib.Path.cwd()}'
      )
    if path.stat().st_size == 0:
      raise DataError(f'{path}: the file is empty')
  except (OSError, ValueError) as error:
    if isinstance(error, DataError):
      raise
    raise DataError(f'{path}: {reason(error)}') from error


def is_parquet(path: pathlib.Path) -> bool:
  """Whether a file is, or by its name claims to be, Parquet."""
  claims = path.suffix.lower() in ('.parquet', '.pq')
  return claims or _begins(path, 4) == b'PAR1'


def read(path: pathlib.Path) -> bytes:
  """All bytes of a file; of a compressed one, what it unpacks to.

  gzip, bzip2, xz and zip archives with a single file are unpacked.

  Raises:
    DataError: it cannot be read, or unpacks to more than 50 times its size.
  """
  check_is_file(path)
  most = max(_ALWAYS_FINE, _MOST_TIMES * path.stat().st_size)
  with opened(path) as file:
    packed = not isinstance(file, io.BufferedReader)
    data = file.read(most + 1) if packed else file.read()
  if packed and len(data) > most:
    raise DataError(
      f'{path}: unpacks to more than {_MOST_TIMES} times its size; if that is right,'
      ' unpack it first'
    )
  return data


@contextlib.contextmanager
def opened(path: pathlib.Path):
  """The file as a binary stream, unpacked; its failures are DataErrors."""
  try:
    with contextlib.ExitStack() as stack:
      yield _stream(path, stack)
  except DataError:
    raise
  except (zipfile.BadZipFile, *_DAMAGED[:4]) as error:
    raise DataError(
      f'{path}: the compressed data is damaged or cut short ({reason(error)});'
      ' get the file again'
    ) from error
  except (OSError, *_DAMAGED) as error:
    raise DataError(f'{path}: cannot be read: {reason(error)}') from error


def reason(error: BaseException) -> str:
  """Why an operation failed, on one line, also where Python gives no text."""
  text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
  return ' '.join(text.split())


def _begins(path, count) -> bytes:
  try:
    with open(path, 'rb') as file:
      return file.read(count)
  except OSError as error:
    raise DataError(f'{path}: cannot be read: {reason(error)}') from error


def _stream(path, stack):
  begins = _begins(path, 16)
  for magic, what in _UNREADABLE.items():
    if begins.startswith(magic):
      raise DataError(f'{path}: {what}')
  if begins.startswith(b'PK\x03\x04'):
    return _only_member(path, stack)
  if begins.startswith(b'\x1f\x8b'):
    return stack.enter_context(gzip.open(path))
  if begins.startswith(b'BZh'):
    return stack.enter_context(bz2.open(path))
  if begins.startswith(b'\xfd7zXZ\x00'):
    return stack.enter_context(lzma.open(path))
  return stack.enter_context(open(path, 'rb'))


def _only_member(path, stack):
  archive = stack.enter_context(zipfile.ZipFile(path))
  names = [name for name in archive.namelist() if not name.endswith('/')]
  if '[Content_Types].xml' in names:
    raise DataError(f'{path}: an Excel workbook; save the sheet as CSV')
  names = [name for name in names if not name.startswith('__MACOSX/')]
  if len(names) != 1:
    some = ', '.join(names[:3]) + ', ...' * (len(names) > 3)
    raise DataError(
      f'{path}: a zip archive of {len(names)} files ({some or "none"}); unpack it and'
      ' name one of them'
    )
  return stack.enter_context(archive.open(names[0]))


def text(path: pathlib.Path, data: bytes) -> bytes:
  r"""The same text as UTF-8, without a byte order mark, its lines ended by `\n`.

  A `\r` before a `\n` stays. UTF-16 is known by its byte order mark.

  Raises:
    DataError: it is not UTF-8; the line is named.
  """
  if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    try:
      data = data.decode('utf-16').encode()
    except UnicodeError as error:
      raise DataError(
        f'{path}: begins like UTF-16 but is not; save the file as UTF-8'
      ) from error
  data = data.removeprefix(codecs.BOM_UTF8)
  if (zero := data.find(0)) >= 0:
    raise DataError(
      f'{path}, line {data.count(10, 0, zero) + 1}: a zero byte, which no text holds;'
      ' if the file is UTF-16, save it as UTF-8, else get it again'
    )
  if not data.isascii():
    _check_utf8(path, data)
  return data if b'\n' in data else data.replace(b'\r', b'\n')


def _check_utf8(path, data):
  decoder = codecs.getincrementaldecoder('utf-8')()
  for start in range(0, len(data), _CHUNK):
    left = len(decoder.getstate()[0])  # bytes of a character cut by the last chunk
    chunk = data[start : start + _CHUNK]
    try:
      decoder.decode(chunk, final=start + _CHUNK >= len(data))
    except UnicodeDecodeError as error:
      at = start - left + error.start
      raise _not_utf8(path, data.count(b'\n', 0, at) + 1, data[at]) from error


def _not_utf8(path, line, byte) -> DataError:
  return DataError(
    f'{path}, line {line}: byte 0x{byte:02x} is not UTF-8 text; save the file as UTF-8'
  )


def lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  """The lines of a UTF-8 file, unpacked, with their numbers from 1.

  Unlike `read`, this holds one line at a time.
  """
  check_is_file(path)
  with opened(path) as file:
    for line, raw in enumerate(file, start=1):
      try:
        text = raw.decode('utf-8-sig' if line == 1 else 'utf-8')
      except UnicodeDecodeError as error:
        raise _not_utf8(path, line, error.object[error.start]) from error
      yield line, text
