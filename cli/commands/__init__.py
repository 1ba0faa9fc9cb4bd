"""The commands of `mirror`, one file a group."""
