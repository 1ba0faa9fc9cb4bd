"""Cache of public packages: pages and files of the upstream, fetched once, kept on the volume.

nginx serves what is on the volume and asks this program (``python3 -m mirror.cache``) only for
what is missing or expired. It is one event loop (aiohttp, server and client); threads parse pages,
write and hash. docs/proxy.md describes how the parts work together.
"""
