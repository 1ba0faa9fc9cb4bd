"""Changes to objects of others: the original is stored first, and can be restored exactly.

The engine plans an update of each target and applies it; nothing else in deploy writes what is not
ours. `model` defines targets, edits and the ledger's entries, `fix` what a fix is. The drivers in
`targets` and `node_target` read and write, `ledger` stores, `lease` admits one writer at a time,
`state` compares targets with the ledger. `cni_targets`, `coredns_target` and `attachment` are pure
helpers of the editors.
"""
