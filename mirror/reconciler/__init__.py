"""The reconciler: notices that a fix was reverted, restores it and reports that in an Event.

It runs in the cluster. It may only read its entries in the ledger, patch the objects they describe,
by name, and create Events. What decides which programs run on nodes it may only read and report:
DaemonSets, the node defaults, and the template of the CNI's files. It does not prove fixes, and
leaves every case that an edit made ambiguous to `mirror fix`. Standard library only.
"""
