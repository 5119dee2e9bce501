r"""SharedVAE by the size of its latents (section 5.3 chose 128).

python -m experiments.table --config=configs/sharedvae_latent.py
python -m experiments.table --config=configs/sharedvae_latent.py:amazon

On MovieLens by default. Half an hour on two CPU cores. The paper prints no numbers.
"""

from configs import common, shared_vae

SIZES = (16, 32, 64, 128, 256)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  return common.table(
    'sharedvae_latent',
    arg,
    title='SharedVAE: HR and NDCG by the size of the latents',
    rows={'SharedVAE': (shared_vae,)},
    columns={
      f'latent {size}': dict(x=float(size), terms=dict(model=dict(latent=size)))
      for size in ((8, 16) if arg.quick else SIZES)
    },
    x_label='size of the latents',
    measures=('sampled hr@10', 'sampled ndcg@10', 'full hr@10', 'full ndcg@10'),
    data=common.implicit_block(arg),
  )
