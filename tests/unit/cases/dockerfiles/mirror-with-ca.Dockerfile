FROM base:1 AS packages
COPY ["mirror-requirements.txt", "uv.txt", "ca.pem", "/build/"]
ENV PIP_CERT=/build/ca.pem
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN ["python3", "-m", "venv", "/build/pip"]
RUN ["python3", "-m", "venv", "--without-pip", "/opt/mirror"]
RUN ["/build/pip/bin/python3", "-m", "pip", "--python", "/opt/mirror/bin/python3", "install", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir", "--no-compile", "--requirement", "/build/mirror-requirements.txt"]
RUN ["/build/pip/bin/python3", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir", "--no-compile", "--no-deps", "--target", "/build/probe", "--platform", "musllinux_1_1_aarch64", "--requirement", "/build/uv.txt"]
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/opt/mirror/lib"]

FROM base:1
ENTRYPOINT []
COPY ["mirror_system.sh", "/build/"]
RUN ["sh", "/build/mirror_system.sh", "mirror", "10001", "busybox-static", "ca-certificates", "nginx"]
COPY --from=packages ["/build/probe/bin/uv", "/opt/probe/uv"]
RUN ["ln", "-s", "/usr/bin/busybox", "/opt/probe/busybox"]
COPY --from=packages ["/opt/mirror", "/opt/mirror"]
ENV PATH=/opt/mirror/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/opt/mirror/app HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY ["mirror/", "/opt/mirror/app/mirror/"]
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "/opt/mirror/app"]
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGINT
