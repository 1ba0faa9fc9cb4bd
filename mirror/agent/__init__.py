"""The node agent: the only program of the project that writes on hosts. Standard library only.

It runs as root on every node, in the host's network, whose settings it may write, and it mounts two
of the host's folders: /etc and the CNI's. It has no token and opens no port: a request is an `exec`
with one JSON line on stdin and one on stdout. If the cluster has a reconciler, the agent also
checks the files and settings that fixes wrote, and restores them when something reverts them.
"""
