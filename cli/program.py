"""Settings that both programs share, apart from the options so that an overview loads quickly."""

from __future__ import annotations

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
TYPED = "mirror.typed"  # the command line as it was typed, in the meta data of the root context
