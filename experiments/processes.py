"""The flags of a command that several processes can run together."""

from absl import flags

COORDINATOR = flags.DEFINE_string(
  'coordinator',
  None,
  "Address and port of process 0; 'cluster' asks SLURM, Kubernetes or a TPU.",
)
PROCESSES = flags.DEFINE_integer('processes', None, 'Processes of the run.')
PROCESS = flags.DEFINE_integer('process', None, 'The number of this process, from 0.')


def of_flags() -> tuple[str | None, int | None, int | None]:
  """The fields of `hosts.Among`."""
  return COORDINATOR.value, PROCESSES.value, PROCESS.value
