"""The environment of the program: device, processes, signals, log and files."""
