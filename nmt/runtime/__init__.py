"""Where the program runs: device, processes, signals and log."""
