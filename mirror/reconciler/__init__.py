"""The keeper: sees that a fix was changed back, says so in an Event, puts it back. Stdlib only.

It runs in the cluster, with rights to read its pages of the ledger, to patch the very objects that
they are about, by name, and to create Events. It proves nothing, and leaves to `mirror fix`
whatever somebody's edit makes doubtful.
"""
