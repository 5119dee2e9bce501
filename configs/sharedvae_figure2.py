r"""Figure 2 of SharedVAE: HR and NDCG against beta.

python -m experiments.table --config=configs/sharedvae_figure2.py
python -m experiments.table --config=configs/sharedvae_figure2.py:amazon

On MovieLens by default. Half an hour on two CPU cores. The paper's figure prints no
numbers. The other settings are those chosen for the default beta.
"""

from configs import common, shared_vae

BETAS = (0, 1, 3, 10, 30, 100)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  return common.table(
    'sharedvae_figure2',
    arg,
    title='SharedVAE, Figure 2: HR and NDCG by the weight of positives',
    rows={'SharedVAE': (shared_vae,)},
    columns={
      f'beta {beta}': dict(x=float(beta), terms=dict(hyper=dict(beta=beta)))
      for beta in BETAS
    },
    x_label='beta',
    measures=('sampled hr@10', 'sampled ndcg@10', 'full hr@10', 'full ndcg@10'),
    data=common.implicit_block(arg),
  )
