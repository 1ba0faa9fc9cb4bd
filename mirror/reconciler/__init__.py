"""The reconciler: notices that a fix was reverted, restores it and reports that in an Event.

It runs in the cluster. Its permissions are to read its entries of the ledger, to patch the objects
they are about, by name, and to create Events. It proves nothing, and leaves every case that an edit
made ambiguous to `mirror fix`. Standard library only.
"""
