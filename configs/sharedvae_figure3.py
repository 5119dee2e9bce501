r"""Figure 3 of SharedVAE: its ablations.

python -m experiments.table --config=configs/sharedvae_figure3.py
python -m experiments.table --config=configs/sharedvae_figure3.py:amazon

On MovieLens by default. Half an hour on two CPU cores. The paper's figure prints no
numbers.
"""

from configs import common, shared_vae

ROWS = {
  'Single0': 'single0',
  'Single': 'single',
  'Merged0': 'merged0',
  'Merged': 'merged',
  'MMD0': 'mmd0',
  'SharedVAE': 'shared',
  'SharedVAE, beta 0': 'beta0',  # this and those below are not in the figure
  'Single0, fair size': 'single_fair0',
  'Single, fair size': 'single_fair',
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  return common.table(
    'sharedvae_figure3',
    arg,
    title='SharedVAE, Figure 3: its ablations',
    note='Single reads the target alone, and Merged reads both domains as one. A 0'
    ' after a name means beta = 0; MMD0 has no alignment of latents.',
    rows={row: (shared_vae, variant) for row, variant in ROWS.items()},
    columns={'SharedVAE': {}},
    measures=common.RANKING,
    data=common.implicit_block(arg),
  )
