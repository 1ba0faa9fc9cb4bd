"""The commands of `mirror` and `build-image`, one file each."""
