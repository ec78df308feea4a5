"""The insides of the doors: options, output, signals, exit codes."""
