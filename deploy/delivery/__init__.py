"""One file a way of bringing an image to the nodes."""
