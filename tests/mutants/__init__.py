"""A fault planter: do the quick tests notice a small fault?

    python -m tests.mutants mirror/agent deploy/changes/ledger.py --most 20

copies the repository to a temporary folder, plants one fault at a time there, runs the tests that
cover the changed line, and prints the faults that no test noticed. It is not part of CI.
docs/development.md shows how to use it and why it is our own.
"""
