"""Other people's clients on the same topic and the same subject."""
