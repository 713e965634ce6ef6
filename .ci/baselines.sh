#!/bin/sh
# What apitap finds on generated traffic, beside three detectors that could be used instead:
#   .ci/baselines.sh FOLDER PRESET SEED…
# FOLDER holds the generator, the baselines and the scorer; PRESET is day or week. Prints one line a seed and detector.
set -eu
folder=$1 preset=$2
shift 2
apitap=${APITAP:-target/release/apitap}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for seed in "$@"; do
    python3 "$folder/synth.py" --preset "$preset" --seed "$seed" --calls --out "$work/t" > "$work/log"
    for detector in apitap rate bucket trw; do
        case $detector in
        apitap) "$apitap" replay --quiet --state "$work" --trusted-proxy 10.20.0.5 "$work/t.pcap" > "$work/alerts" || [ $? = 3 ] ;;
        *) python3 "$folder/baselines.py" $detector "$work/t.calls.jsonl.gz" > "$work/alerts" 2> /dev/null ;;
        esac
        printf '%-7s ' $detector
        python3 "$folder/score.py" "$work/t.labels.json" "$work/alerts" --quiet
    done
done
