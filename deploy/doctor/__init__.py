"""`mirror doctor`: run the checks, offer remedies, write a bundle."""
