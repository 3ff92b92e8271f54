#!/usr/bin/env bash
# Trains and evaluates every language of $GRAPHEME_DATA/g2p, one after another, and prints a table with the macro average.
#
#   scripts/g2p.sh                        all languages, runs/g2p
#   scripts/g2p.sh --only "hun kor"       some languages
#   scripts/g2p.sh --out runs/wide -- --width 192 --epochs 20
#
# What follows -- goes to `train`. Interrupted, it goes on where it was: finished languages are kept, the one that was
# cut off is resumed. Other options for `train` need another folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

out=runs/g2p
only=
while (($#)); do
    case $1 in
        --out) out=${2:?--out needs a folder}; shift 2 ;;
        --only) only=${2:?--only needs languages}; shift 2 ;;
        --help) usage; exit ;;
        --) shift; break ;;
        *) echo "unknown option $1; options of train go after --" >&2; exit 2 ;;
    esac
done
: "${GRAPHEME_DATA:?set GRAPHEME_DATA to the folder that holds g2p/LANGUAGE_train.tsv and g2p/LANGUAGE_dev.tsv}"
data=$GRAPHEME_DATA/g2p

if [[ -z $only ]]; then
    for file in "$data"/*_train.tsv; do
        name=${file##*/}
        only+=" ${name%_train.tsv}"
    done
fi
mkdir -p "$out"
if [[ -e $out/options && $(<"$out/options") != "$*" ]]; then
    echo "$out was begun with other options for train: '$(<"$out/options")'; choose another folder with --out" >&2
    exit 2
fi
echo "$*" >"$out/options"
cargo build --release --bin train --bin evaluate
binaries=${CARGO_TARGET_DIR:-target}/release

for language in $only; do
    run=$out/$language
    [[ -e $run/figures.json ]] && continue
    if [[ -e $run/config.json ]]; then
        "$binaries/train" --out "$run" --resume
    else
        "$binaries/train" --train "$data/${language}_train.tsv" --dev "$data/${language}_dev.tsv" --out "$run" "$@"
    fi
    # Renamed when whole, so that a file that is there is a language that is done.
    "$binaries/evaluate" --run "$run" --data "$data/${language}_dev.tsv" --json >"$run/figures.tmp"
    mv "$run/figures.tmp" "$run/figures.json"
done

for language in $only; do
    printf '%s %s\n' "$language" "$(<"$out/$language/figures.json")"
done | awk '
    function figure(name,   rest) {
        rest = substr($0, index($0, "\"" name "\":") + length(name) + 3)
        return rest + 0
    }
    BEGIN { printf "%-8s %8s %8s %8s\n", "language", "examples", "WER", "PER" }
    { wer += figure("wer"); per += figure("ter"); printf "%-8s %8d %8.2f %8.2f\n", $1, figure("n"), figure("wer"), figure("ter") }
    END { if (NR) printf "%-8s %8s %8.2f %8.2f\n", "macro", "", wer / NR, per / NR }
'
