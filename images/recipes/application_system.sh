#!/bin/sh
# Install the Debian packages of a recipe and create the image's user, in one layer.
# usage: application_system.sh USER USER-ID APT-MIRROR|- PACKAGE...
set -eu
user=$1 id=$2 mirror=$3
shift 3

if [ $# -gt 0 ]; then
    # keep packages from starting services: the build shares the host's network
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        made=$policy
    fi
    set -- install -y --no-install-recommends "$@"
    export DEBIAN_FRONTEND=noninteractive
    sources=/tmp/sources.list
    if [ "$mirror" = - ]; then
        apt-get update
        apt-get "$@"
    else
        codename=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
        printf 'deb %s %s main\n' "$mirror" "$codename" > "$sources"
        only="-oDir::Etc::sourcelist=$sources" others=-oDir::Etc::sourceparts=/dev/null
        apt-get "$only" "$others" update
        apt-get "$only" "$others" "$@"
    fi
    rm -f "${made:-}" "$sources"
fi

if ! getent group "$id" >/dev/null; then groupadd --gid "$id" "$user"; fi
if ! getent passwd "$id" >/dev/null; then
    useradd --uid "$id" --gid "$id" --home-dir /tmp --no-create-home --shell /usr/sbin/nologin "$user"
fi

# the official Python images have no bytecode of the standard library, and pods cannot write any;
# a single process compiles in a fixed order, so every build produces the same bytecode
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(site-packages|dist-packages|test|tests|idlelib|turtledemo|tkinter|ensurepip)/' "$library"

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
    /var/cache/ldconfig/aux-cache "$0"
