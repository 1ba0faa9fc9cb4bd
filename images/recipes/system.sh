#!/bin/sh
# Packages of the distribution and the image's user, as one layer: what is removed here is in none.
# usage: system.sh USER USER-ID PACKAGE...
set -eu
user=$1 id=$2
shift 2

# packages must not start their services: the build may share the machine's network
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

# the official Python images hold the standard library uncompiled, and pods cannot write it
library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
python3 -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(site-packages|test|tests|idlelib|turtledemo|tkinter|ensurepip)/' "$library"

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* "$0"
