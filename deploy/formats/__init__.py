"""Configuration formats of other programs, edited so that everything else keeps its bytes."""
