#!/bin/sh
# Runs make targets side by side: the first one's output is shown as it comes, that of the others when all are done.
#   sh tests/side_by_side.sh MAKE FIRST OTHER...
set -u
make=$1 first=$2
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'trap - INT TERM; kill 0' INT TERM
failed=""
for target in "$@"; do
    { "$make" "$target"; echo $? >"$folder/$target.status"; } >"$folder/$target" 2>&1 &
done
"$make" "$first" || failed=$first
wait
for target in "$@"; do
    echo "== make $target"
    cat "$folder/$target"
    [ "$(cat "$folder/$target.status")" = 0 ] || failed="$failed${failed:+ }$target"
done
[ -z "$failed" ] || echo "failed: make $failed" >&2
[ -z "$failed" ]
