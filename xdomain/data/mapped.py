"""Arrays in one `.npz` file, which are mapped into memory instead of read."""

import io
import math
import mmap
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

_LINE = 64  # bytes; each array begins at a multiple
_HEADER, _ZIP64, _FILLER = 30, 20, 4  # bytes of a member's header and its extra fields
_FILL = 0x4C46  # the kind of an extra field that readers of zip files pass over
_BLOCK = 1 << 24  # bytes that are checked at a time


def save(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes what `np.savez` would, with every array at a multiple of 64 bytes."""
  with zipfile.ZipFile(file, 'w', allowZip64=True) as archive:
    for name, array in arrays.items():
      member = zipfile.ZipInfo(f'{name}.npy')
      begins = file.tell() + _HEADER + len(member.filename) + _ZIP64 + _FILLER
      filler = -begins % _LINE
      member.extra = struct.pack('<HH', _FILL, filler) + bytes(filler)
      with archive.open(member, 'w', force_zip64=True) as entry:
        np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def load(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a file, read-only; their bytes are compared with their checksums.

  Raises:
    FileNotFoundError, ValueError, zipfile.BadZipFile: there is no such file.
  """
  with open(path, 'rb') as file, zipfile.ZipFile(file) as archive:
    whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return {
      member.filename.removesuffix('.npy'): _array(whole, member)
      for member in archive.infolist()
    }


def _array(whole, member) -> np.ndarray:
  at = member.header_offset
  if not 0 <= at <= len(whole) - _HEADER:  # The file lacks bytes before its directory.
    raise zipfile.BadZipFile(f'{member.filename} begins outside the file')
  name, extra = struct.unpack_from('<HH', whole, at + 26)
  begin = at + _HEADER + name + extra
  data = whole[begin : begin + member.file_size]
  if member.compress_type != zipfile.ZIP_STORED or _checksum(data) != member.CRC:
    raise zipfile.BadZipFile(f'bad CRC-32 of {member.filename}')
  head = io.BytesIO(data[:4096])
  version = np.lib.format.read_magic(head)
  read = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  shape, by_column, dtype = read(head)
  if dtype.hasobject:
    raise ValueError(f'{member.filename} holds Python objects')
  array = np.frombuffer(data, dtype, math.prod(shape), head.tell())
  array = array.reshape(shape, order='F' if by_column else 'C')
  return np.require(array, requirements='A')


def _checksum(data) -> int:
  found = 0
  for begin in range(0, len(data), _BLOCK):
    found = zlib.crc32(data[begin : begin + _BLOCK], found)
  return found
