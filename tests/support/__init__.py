"""What several tests use: running a command, small models, pairs of lines, a browser."""
