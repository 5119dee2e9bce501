r"""The quality that is lost when matrix products round their factors.

python -m benchmarks.rounding
python -m benchmarks.rounding --methods=autorec_item --seeds=1 --workdir=/tmp/rounding

A GPU or a TPU can multiply rounded factors and add in float32: TF32 keeps 10 bits of
a factor's mantissa, bfloat16 keeps 7. A CPU multiplies in float32 whatever it is told.
Here the CPU rounds the factors of each product first, as such a device does, in
training, validation and test; `xdomain/precision.py` says which products are never
rounded. A method is trained on the MovieLens pair with the settings of its config.
Finished runs are read from their folders, so the command can be interrupted and
repeated.
"""

import importlib
import pathlib
from typing import NamedTuple

import numpy as np
from absl import app, flags, logging


class Method(NamedTuple):
  """A config with its argument, and the measure that it is judged by."""

  module: str
  arg: str | None
  measure: str


METHODS = {
  'autorec_item': Method('autorec', 'item', 'rmse'),
  'darec_item': Method('darec', 'item', 'rmse'),
  'shared_vae': Method('shared_vae', None, 'sampled ndcg@10'),
}
# The settings of JAX_DEFAULT_MATMUL_PRECISION, and the bits that they keep.
PRECISIONS = {'float32': 23, 'tensorfloat32': 10, 'BF16_BF16_F32': 7}
CHOSEN = flags.DEFINE_list('methods', list(METHODS), 'Which methods.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds of each.', lower_bound=1)
WORKDIR = flags.DEFINE_string('workdir', 'runs/rounding', 'Where run folders go.')
COLUMNS = 'method', 'measure', *PRECISIONS


def bits_of(precision) -> int:
  """The mantissa bits that a GPU keeps of a product's factors; by default TF32's."""
  from jax import lax

  named = {
    lax.Precision.HIGHEST: PRECISIONS['float32'],
    lax.DotAlgorithmPreset.BF16_BF16_F32: PRECISIONS['BF16_BF16_F32'],
  }
  one = precision[0] if isinstance(precision, tuple) else precision
  return named.get(one, PRECISIONS['tensorfloat32'])


def round_factors() -> None:
  """From now on, products of a CPU round their float32 factors as a GPU's do."""
  import jax
  from jax import lax
  from jax.interpreters import mlir

  lowerings = mlir._platform_specific_lowerings['cpu']  # pyright: ignore
  plain = lowerings[lax.dot_general_p].rule  # pyright: ignore

  def rule(ctx, *factors, precision, **rest):
    kept = bits_of(precision)
    if kept < PRECISIONS['float32'] and ctx.avals_in[0].dtype == np.float32:
      lower = mlir.lower_fun(
        lambda x: lax.reduce_precision(x, 8, kept), multiple_results=False
      )
      factors = [
        lower(ctx.replace(primitive=None, avals_in=[aval], avals_out=[aval]), factor)[0]
        for aval, factor in zip(ctx.avals_in, factors)
      ]
    return plain(ctx, *factors, precision=(lax.Precision.HIGHEST,) * 2, **rest)

  mlir.register_lowering(lax.dot_general_p, rule, platform='cpu')  # pyright: ignore
  jax.clear_caches()


def value(method: Method, precision: str, seed: int) -> float:
  """The test measure of a run whose products have this precision."""
  import jax

  from xdomain.reporting import records as records_lib
  from xdomain.runs import prepare, run, store
  from xdomain.runs import spec as specs

  config = importlib.import_module(f'configs.{method.module}').get_config(method.arg)
  config.seed = seed
  spec = specs.from_config(config)
  folder = store.folder_of(spec, pathlib.Path(WORKDIR.value) / precision)
  with jax.default_matmul_precision(precision):
    prepared = prepare.prepare(spec, lambda line: None)
    records = run.run(spec, prepared, folder, watch=lambda report: None)
  return float(records_lib.values(records, method.measure)[0])


def row(name: str) -> list[str]:
  """The cells of a method: mean and range over seeds at each precision."""
  method, cells = METHODS[name], []
  for precision in PRECISIONS:
    each = [value(method, precision, seed) for seed in range(SEEDS.value)]
    cells.append(f'{np.mean(each):.4f} ({min(each):.4f} to {max(each):.4f})')
  return [name, method.measure, *cells]


def main(argv):
  del argv
  from xdomain.reporting import render

  logging.set_verbosity(logging.WARNING)
  round_factors()
  print(render.markdown_row(COLUMNS))
  print(render.markdown_row(['---'] * len(COLUMNS)))
  for name in CHOSEN.value:
    print(render.markdown_row(row(name)), flush=True)


if __name__ == '__main__':
  app.run(main)
