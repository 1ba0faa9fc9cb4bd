"""The order in which locks are looked for."""

from images.locks import LockKind, pdm, pipenv, poetry, pylock, requirements, uv

KINDS: tuple[LockKind, ...] = (
    uv.KIND,
    pylock.KIND,
    poetry.KIND,
    pdm.KIND,
    pipenv.KIND,
    requirements.KIND,
)
