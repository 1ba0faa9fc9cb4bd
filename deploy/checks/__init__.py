"""The checks of `mirror doctor`: one module per category; pure functions of the evidence."""
