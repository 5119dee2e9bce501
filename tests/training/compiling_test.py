import jax
import numpy as np

from xdomain.training import compiling


def test_a_program_is_counted_once_and_only_while_it_is_watched():
  # A constant that no earlier call has seen, so that there is something to compile.
  program = jax.jit(lambda x: x * 1.2345 + np.arange(3))
  x = np.ones(3, np.float32)
  with compiling.watch() as outer:
    with compiling.watch() as inner:
      program(x)
    program(x)
    program(np.ones((2, 3), np.float32))
  assert (inner.programs, outer.programs) == (1, 2)
  assert 0 < inner.seconds < outer.seconds
  program(np.ones((4, 3), np.float32))
  assert outer.programs == 2
  assert str(outer).startswith('compiled 2 programs')
