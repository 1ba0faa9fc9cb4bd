#!/bin/sh
# Install Debian packages and create the image's user, in one layer.
# usage: mirror_system.sh USER USER-ID PACKAGE...
set -eu
user=$1 id=$2
shift 2

# keep packages from starting services: the build may share the host's network
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    made=$policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "$@"
rm -f "${made:-}"

groupadd --gid "$id" "$user"
useradd --uid "$id" --gid "$id" --home-dir /nonexistent --no-create-home \
    --shell /usr/sbin/nologin "$user"

# the official Python images have no bytecode of the standard library, and pods cannot write any
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
python3 -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(site-packages|test|tests|idlelib|turtledemo|tkinter|ensurepip)/' "$library"

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* "$0"
