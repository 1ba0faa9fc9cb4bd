"""What checks report: findings with their remedies, and the wording that checks share. Pure.

Below `deploy.checks`, so that a check never imports `deploy.doctor`, which runs the checks.
"""
