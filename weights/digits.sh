#!/usr/bin/env bash
# Trains, judges and packs the digits weights that the package embeds: about two hours on a
# CPU. Start it again after an interruption and it goes on.
#
#   weights/digits.sh                  every network
#   weights/digits.sh racl arnas       these only
set -euo pipefail
cd "$(dirname "$0")/.."

# network, channels, epochs, and epochs of its twin that is trained without adversarial images
networks="
racl 8 30 6
robnet_free 8 30 6
arnas 12 30 16
robnet_small 8 16 6
robnet_medium 8 12 6
robnet_large 8 14 6
robnet_large_v2 8 8 6
"

train() { # network channels recipe epochs run
    [ -e "$5/record.json" ] && return
    local resume=()
    [ -e "$5/last.pt" ] && resume=(--resume)
    python -m robnet_zoo.train --model "$1" --dataset digits --channels "$2" --recipe "$3" \
        --epochs "$4" --out "$5" "${resume[@]}"
}

judge() { # model, record, attacks
    [ -e "$2" ] && return
    python -m robnet_zoo.eval --model "$1" --attack "$3" --out "$2" --resume
}

while read -r network channels epochs twin_epochs; do
    [ -n "$network" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $network "* ]] || continue
    run=runs/digits/$network
    weights=robnet_zoo/pretrained/$network.digits twin=runs/digits/$network.digits-natural
    record=eval/results/$network.digits.json twin_record=eval/results/$network.digits-natural.json

    train "$network" "$channels" digits "$epochs" "$run"
    [ -e "$weights/config.json" ] || python -m robnet_zoo.train export "$run" --out "$weights"
    judge "$network.digits" "$record" fgsm,pgd20,pgd100

    train "$network" "$channels" natural "$twin_epochs" "$run.natural"
    [ -e "$twin/config.json" ] || python -m robnet_zoo.train export "$run.natural" --out "$twin"
    judge "local-dir:$twin" "$twin_record" fgsm,pgd20

    robnet-zoo attach "$weights" "$record" --natural "$twin_record"
done <<<"$networks"
python -m robnet_zoo.eval tables
