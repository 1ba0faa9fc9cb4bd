"""The reconciler: notices that a fix was reverted, restores it and reports that in an Event.

It runs in the cluster. It may only read its entries in the ledger, patch the objects they describe,
by name, and create Events. It does not prove fixes, and leaves every case that an edit made
ambiguous to `mirror fix`. Standard library only.
"""
