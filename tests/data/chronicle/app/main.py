"""A FastAPI application with /health and /readiness, started like Chronicle's main.py."""

import os
from pathlib import Path

import advanced_omi_backend
import deepgram  # noqa: F401 - of the extra: missing if `uv run` syncs without it
import spacy
import uvicorn
from advanced_omi_backend import memory
from fastapi import FastAPI

KEYS = ("AUTH_SECRET_KEY", "ADMIN_PASSWORD", "ADMIN_EMAIL")
if missing := [key for key in KEYS if not os.environ.get(key)]:
    raise SystemExit(f"{', '.join(missing)} must be set")

# relative to the source tree: works only if the project is installed editable
CONFIG = Path(advanced_omi_backend.__file__).parents[2] / "memory_config.yaml"
CONFIG.read_text()

app = FastAPI()
tagger = spacy.load("en_core_web_sm")


@app.get("/health")
async def health() -> dict[str, object]:
    return {"status": "healthy", "tags": [token.pos_ for token in tagger("Ada writes programs.")]}


@app.get("/readiness")
async def readiness() -> dict[str, object]:
    return {"status": "ready", "memory": memory.PROVIDER}


if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8000)
