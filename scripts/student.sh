#!/usr/bin/env bash
# Trains a set of three, lets it read new words, and trains one student on them:
#
#   scripts/student.sh TRAIN.tsv DEV.tsv FOLDER
#
# FOLDER/set is the set, FOLDER/student the student, both scored on DEV.tsv at the end. Interrupted, it goes on where it was.
set -euo pipefail
if (($# != 3)); then
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
train=$(realpath "$1") dev=$(realpath "$2")
mkdir -p "$3"
out=$(realpath "$3")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

grapheme() {
    local name=$1
    shift
    cargo run --quiet --bin "$name" -- "$@"
}

# learn FOLDER OPTIONS...: a new run, or the rest of one that was stopped.
learn() {
    local run=$1
    shift
    if [[ -e $run ]]; then grapheme train --out "$run" --resume; else grapheme train --out "$run" "$@"; fi
}

learn "$out/set" --train "$train" --dev "$dev" --members 3
[[ -e $out/student.tsv ]] || grapheme distill --teacher "$out/set" --train "$train" --out "$out/student.tsv"
learn "$out/student" --train "$out/student.tsv" --dev "$dev"
for run in set student; do
    echo "$run"
    grapheme evaluate --run "$out/$run" --data "$dev"
done
