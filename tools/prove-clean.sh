#!/bin/bash
# Proves `./dev demo` and `./dev test` on a fresh Debian 12: tools/prove-clean.sh [FOLDER [VERB…]].
# As root. Makes a chroot with debootstrap (mirrors as in this machine's apt sources), copies the committed
# source in, and runs the verbs (demo, test) there, with nothing of this machine but /proc and the network's
# names. FOLDER/base.tar keeps the bare system for the next proof; the chroot itself is made afresh.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-/tmp/pdn-clean}
[ $# -lt 1 ] || shift
verbs=("$@")
[ ${#verbs[@]} -gt 0 ] || verbs=(demo test)
root=$folder/root

[ "$(id -u)" = 0 ] || { echo "prove-clean: needs root, for the chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y -q debootstrap </dev/null

# this machine's own Debian mirrors
lines=$(apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | grep -E ' bookworm(-updates|-security)? main$' | sort -u)
[ -n "$lines" ] || { echo "prove-clean: no Debian 12 mirror in the apt sources" >&2; exit 1; }
mirror=$(sed -n 's/^deb \([^ ]*\) bookworm main$/\1/p' <<<"$lines" | head -n 1)

leave() { ! mountpoint -q "$root/proc" || umount "$root/proc"; }
trap leave EXIT
leave
rm -rf "$root"
mkdir -p "$root"
if [ -f "$folder/base.tar" ]; then
    tar -C "$root" -xf "$folder/base.tar"
else
    debootstrap --variant=minbase bookworm "$root" "$mirror" >"$folder/debootstrap.log" ||
        { tail -n 20 "$folder/debootstrap.log" >&2; exit 1; }
    rm -f "$root"/var/cache/apt/archives/*.deb
    tar -C "$root" -cf "$folder/base.tar" .
fi
printf '%s\n' "$lines" >"$root/etc/apt/sources.list"
apt-config dump | grep -E '^Acquire::https?::Proxy' >"$root/etc/apt/apt.conf.d/90proxy" || true
cp /etc/resolv.conf /etc/hosts "$root/etc/"
mount -t proc proc "$root/proc"

mkdir -p "$root/home/pdn"
git -C "$source" archive HEAD | tar -C "$root/home/pdn" -xf -
echo "prove-clean: $(git -C "$source" rev-parse --short HEAD) in $root"
for verb in "${verbs[@]}"; do
    start=$SECONDS
    echo "prove-clean: ./dev $verb"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
        chroot "$root" /bin/sh -c "cd /home/pdn && ./dev $verb"
    echo "prove-clean: ./dev $verb: $((SECONDS - start)) s"
done
