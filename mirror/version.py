"""The version of this program. The wheel, the image's name and the ledger take it from here."""

VERSION = "0.2.0"
