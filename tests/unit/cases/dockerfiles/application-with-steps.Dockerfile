FROM build-base:1 AS builder
ENV NO_COLOR=1 PYTHONHASHSEED=0 UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 UV_LINK_MODE=hardlink UV_COMPILE_BYTECODE=0 UV_DEFAULT_INDEX=http://mirror:3141/index/ PIP_INDEX_URL=http://mirror:3141/index/ PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore SOURCE_DATE_EPOCH=315532800 UV_HTTP_TIMEOUT=120 CFLAGS="-O2 -g0" CXXFLAGS="-O2 -g0"
COPY ["uv.txt", "build-backends.txt", "installer.py", "bytecode.py", "/build/"]
RUN ["python3", "-m", "venv", "/build/uv"]
RUN ["/build/uv/bin/python3", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir", "--requirement", "/build/uv.txt"]
RUN ["python3", "-m", "venv", "--without-pip", "/app/.venv"]
COPY ["requirements.txt", "/build/"]
RUN ["python3", "/build/installer.py", "install", "/app/.venv", "/build/uv/bin/uv", "pip", "install", "--python", "/app/.venv/bin/python3", "--no-deps", "--build-constraints", "/build/build-backends.txt", "--cache-dir", "/build/cache", "--require-hashes", "--requirement", "/build/requirements.txt"]

FROM builder AS project
ENV PBR_VERSION="1.8" KEY="only in the build"
COPY ["project-backends.txt", "/build/"]
COPY ["source/", "/app/"]
RUN ["python3", "/build/installer.py", "project", "/app/.venv", "/project", "/build/uv/bin/uv", "pip", "install", "--python", "/app/.venv/bin/python3", "--no-deps", "--build-constraints", "/build/project-backends.txt", "--cache-dir", "/build/cache-project", "--editable", "/app/web"]

FROM run-base:1
COPY --from=builder ["/build/uv/bin/uv", "/usr/local/bin/uv"]
COPY --chown=10001:10001 ["empty/", "/app/"]
COPY --from=builder ["/app/.venv", "/app/.venv"]
ENV PATH=/app/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin UV_NO_SYNC="1" UV_OFFLINE="1" UV_FROZEN="1" UV_PYTHON_DOWNLOADS="never" UV_NO_CACHE="1" UV_NO_CONFIG="1" PYTHONDONTWRITEBYTECODE="1" PYTHONUNBUFFERED="1" VIRTUAL_ENV="/app/.venv" HOME="/tmp" HF_HUB_OFFLINE="1" TRANSFORMERS_OFFLINE="1" MEM0_TELEMETRY="False"
COPY --chown=10001:10001 ["empty/", "/app/audio_chunks/"]
COPY --chown=10001:10001 ["empty/", "/app/data/"]
COPY --chown=10001:10001 ["empty/", "/app/debug_dir/"]
COPY --chown=10001:10001 ["empty/", "/app/web/"]
USER 10001:10001
WORKDIR /app/web
CMD ["uv", "run", "--extra", "deepgram", "python3", "src/advanced_omi_backend/main.py"]
COPY --chown=10001:10001 ["source/", "/app/"]
COPY --from=project ["/project/", "/app/.venv/"]
RUN ["env", "KEY=only in the build", "python3", "manage.py", "collectstatic"]
