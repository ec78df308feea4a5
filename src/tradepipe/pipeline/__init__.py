"""The producer, the validator, the sink, and the replay of dead letters."""
