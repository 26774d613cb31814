"""Constants that the processes of a run and their parent share. No jax here, since the parent does not import it."""

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
LOST_OTHERS = 3  # exit code of a process that ends because another one is gone
