"""Programs that work on the mirror's volume: prepare, verify, back up."""
