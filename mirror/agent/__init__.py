"""The node agent: the only program of the project that writes on hosts. Stdlib only.

It runs on every node as root, in the host's network, whose settings it may write, and sees two
folders of the host: /etc, and the CNI's. It has no token and opens no port: it is asked by `exec`,
one JSON line in, one JSON line out. Where the cluster has a keeper it looks by itself at what is to
stay, and puts it back.
"""
