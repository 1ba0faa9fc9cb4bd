"""`mirror fix` and `mirror rollback`: plan, apply, prove, restart, roll back."""
