#!/usr/bin/env bash
# Trains full-size weights on CIFAR-10, judges them and puts them into weights/: on one GPU, in as
# many calls as it takes. Every call goes on where the last one stopped or was killed, on another
# machine too if the folder PACKED came along.
#
#   weights/campaign.sh TRAIN.npz TEST.npz [architecture...]
#
# The files hold x, uint8 (N, 32, 32, 3), and y, integers; an array `approx` in them lists images
# that are not bit-exact copies of the official ones, which the weights' metadata then says.
#
#   LIMIT=9m       time of this call; what is under way then is saved (default 12h)
#   BUDGET=25m     training time of each architecture, over all calls
#   RECIPE=...     training recipe (standard)
#   PACKED=...     where checkpoints in files under 16 MiB are kept (runs/packed)
#   OPTIONS="..."  further training options, such as --channels 4; with --batch-size no sweep
#   TAG=...        tag of the weights (cifar10)
#   JUDGED=, STRONG=  test images of the gradient attacks (10000) and of AutoAttack (1000)
#   ATTACKS=...    the gradient attacks (fgsm,mifgsm,pgd20,pgd100)
set -euo pipefail
train=$(realpath "$1") test=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."

TAG=${TAG:-cifar10} PACKED=${PACKED:-runs/packed} BUDGET=${BUDGET:-25m} RECIPE=${RECIPE:-standard}
read -ra options <<<"${OPTIONS:-}"
work=runs/$TAG
threat=(--threat-model cifar10)
architectures=("$@")
[ $# -gt 0 ] || architectures=(robnet_free racl arnas robnet_large robnet_medium robnet_small
    dsrna_cb dsrna_jacobian dsrna_combined pc_darts resnet18 robnet_large_v2)

LIMIT=${LIMIT:-12h}
case $LIMIT in # to seconds
*s) limit=${LIMIT%s} ;;
*m) limit=$((${LIMIT%m} * 60)) ;;
*h) limit=$((${LIMIT%h} * 3600)) ;;
*) echo "LIMIT '$LIMIT' is not understood; write 90s, 25m or 1h." >&2 && exit 2 ;;
esac
deadline=$((SECONDS + limit))

within() { # a command, which is asked to save and stop when the call's time is over
    local left=$((deadline - SECONDS))
    if [ "$left" -le 0 ]; then
        echo "the time of this call is over; start it again to go on" >&2
        exit 75
    fi
    timeout --preserve-status --signal=TERM --kill-after=60 "$left" "$@"
}

prepare() { # once: the data under their name, with what is to be known about them
    [ -e "$work/test.npz" ] && return
    mkdir -p "$work"
    python - "$train" "$test" "$work" <<'END'
import os, sys
import numpy as np

files = [dict(np.load(path, allow_pickle=False)) for path in sys.argv[1:3]]
total = sum(len(file["x"]) for file in files)
inexact = sum(len(file.get("approx", ())) for file in files)
note = f"CIFAR-10; {inexact} of the {total:,} images are JPEG copies, not bit-exact"
for file, name in zip(files, ("train", "test"), strict=True):
    place = f"{sys.argv[3]}/{name}"
    np.savez(f"{place}.part.npz", x=file["x"], y=file["y"], name="cifar10", note=note)
    os.replace(f"{place}.part.npz", f"{place}.npz")
END
}

sweep() { # once a machine: the fastest options
    [[ " ${options[*]} " == *" --batch-size "* ]] && return
    [ -e "$work/options" ] || {
        within python -m benchmarks.sweep --model "${architectures[0]}" --seconds 120 \
            --out "$work/sweep.json" >"$work/options.part"
        mv "$work/options.part" "$work/options"
    }
    read -ra found <"$work/options"
    options+=("${found[@]}")
}

train() { # architecture, run
    [ -e "$2/record.json" ] && return
    local status=0
    if [ ! -e "$2/last.pt" ] && [ -e "$PACKED/$1/pack.json" ]; then
        rm -rf "$2"
        python -m robnet_zoo.train unpack "$PACKED/$1" --out "$2"
    fi
    if [ -e "$2/last.pt" ]; then
        within python -m robnet_zoo.train --resume --out "$2" --save-every 1m || status=$?
    else
        rm -rf "$2" # killed before its first checkpoint
        within python -m robnet_zoo.train --model "$1" --dataset "arrays:$work/train.npz" \
            "${threat[@]}" --recipe "$RECIPE" --time-budget "$BUDGET" --out "$2" --save-every 1m \
            "${options[@]}" || status=$?
    fi
    [ ! -e "$2/last.pt" ] || python -m robnet_zoo.train pack "$2" --out "$PACKED/$1"
    [ "$status" -eq 0 ] || exit "$status"
}

judge() { # weights, record, attacks, images
    [ -e "$2" ] && return
    within python -m robnet_zoo.eval --model "local-dir:$1" --dataset "arrays:$work/test.npz" \
        "${threat[@]}" --attack "$3" --n "$4" --out "$2" --resume
}

prepare
sweep
for name in "${architectures[@]}"; do
    run=$work/$name weights=weights/$name.$TAG record=eval/results/$name.$TAG.json
    train "$name" "$run"
    [ -e "$weights/config.json" ] || python -m robnet_zoo.train export "$run" --out "$weights"
    cp "$run/curves.png" "$run/history.csv" "$weights/"
    judge "$weights" "$record" "${ATTACKS:-fgsm,mifgsm,pgd20,pgd100}" "${JUDGED:-10000}"
    judge "$weights" "${record%.json}.autoattack.json" autoattack "${STRONG:-1000}"
    python -m robnet_zoo attach "$weights" "$record"
done
python -m robnet_zoo.eval tables
