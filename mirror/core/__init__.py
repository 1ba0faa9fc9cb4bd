"""What every package uses: errors, progress, waiting, running programs."""
