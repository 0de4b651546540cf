#!/usr/bin/env bash
# Trains, evaluates and exports the digits weights that the package embeds. Training takes two
# to three hours of a CPU, AutoAttack some three more. Start it again after an interruption and it goes on.
#
#   weights/digits.sh                  every network
#   weights/digits.sh racl arnas       these only
set -euo pipefail
cd "$(dirname "$0")/.."

# network, channels, epochs, epochs of its twin that is trained without adversarial images, learning
# rate, and what else the adversarial training changes in the recipe: 33 cells are harder to start
networks="
racl 8 30 6 0.1
robnet_free 8 30 6 0.1
arnas 12 30 16 0.1
robnet_small 8 16 6 0.1
robnet_medium 8 12 6 0.1
robnet_large 8 14 6 0.1
robnet_large_v2 8 26 8 0.05 epsilon_warmup=0.6 early_until=0.6 craft_mode=train
dsrna_cb 12 60 30 0.1
dsrna_jacobian 12 60 30 0.1
dsrna_combined 12 60 30 0.1
"

train() { # run, network, channels, recipe, epochs, settings...
    [ -e "$1/record.json" ] && return
    local options=(--out "$1" --model "$2" --channels "$3" --recipe "$4" --epochs "$5")
    for setting in "${@:6}"; do options+=(--set "$setting"); done
    [ -e "$1/last.pt" ] && options+=(--resume)
    python -m robnet_zoo.train --dataset digits "${options[@]}"
}

judge() { # model, record, attacks
    [ -e "$2" ] && return
    python -m robnet_zoo.eval --model "$1" --attack "$3" --out "$2" --resume
}

while read -r network channels epochs twin_epochs lr settings; do
    [ -n "$network" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $network "* ]] || continue
    run=runs/digits/$network
    weights=robnet_zoo/zoo/pretrained/$network.digits twin=runs/digits/$network.digits-natural
    record=eval/results/$network.digits.json twin_record=eval/results/$network.digits-natural.json

    # shellcheck disable=SC2086 # settings are words
    train "$run" "$network" "$channels" digits "$epochs" "lr=$lr" $settings
    [ -e "$weights/config.json" ] || python -m robnet_zoo.train export "$run" --out "$weights"
    judge "$network.digits" "$record" fgsm,pgd20,pgd100,pgd-margin,cr,autoattack

    train "$run.natural" "$network" "$channels" natural "$twin_epochs" "lr=$lr"
    [ -e "$twin/config.json" ] || python -m robnet_zoo.train export "$run.natural" --out "$twin"
    judge "local-dir:$twin" "$twin_record" fgsm,pgd20

    python -m robnet_zoo attach "$weights" "$record" --natural "$twin_record"
done <<<"$networks"
python -m robnet_zoo.eval tables
