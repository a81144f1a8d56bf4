#!/bin/sh
# count.sh FILE...: print how many words each file has.
set -eu
for file in "$@"; do
	printf '%8d  %s\n' "$(wc -w <"$file")" "$file"
done
