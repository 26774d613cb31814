"""Records, their index, the order of batches and the loader. Everything here runs on the host."""
