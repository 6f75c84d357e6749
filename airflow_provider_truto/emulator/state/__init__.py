"""What an emulator knows and remembers: the seed, the customers' CRMs, tokens, logs, runs."""
