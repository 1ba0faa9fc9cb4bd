"""`mirror completion`: the script that makes a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and names.

    Names are those of fixes, recipes, checks, delivery methods, contexts and
    namespaces. The script is for `mirror` and `build-image`.

    \b
    eval "$(mirror completion bash)"                      this shell
    echo 'eval "$(mirror completion bash)"' >> ~/.bashrc  each new one
    mirror completion zsh > "${fpath[1]}/_mirror"
    mirror completion fish > ~/.config/fish/completions/mirror.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    for program in ("mirror", "build-image"):
        variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
        click.echo(kind(completion, {}, program, variable).source())
