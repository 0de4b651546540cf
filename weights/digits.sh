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
rep_pgd 8 30 6 0.1
trnas 8 30 6 0.1
lrnas 8 30 6 0.1
"

make_weights() { # weights, run, network, channels, recipe, epochs, settings...
    [ -e "$1/config.json" ] && return
    if [ ! -e "$2/record.json" ]; then
        local options=(--out "$2" --model "$3" --channels "$4" --recipe "$5" --epochs "$6" --resume)
        for setting in "${@:7}"; do options+=(--set "$setting"); done
        python -m robnet_zoo.train --dataset digits "${options[@]}"
    fi
    python -m robnet_zoo.train export "$2" --out "$1"
}

judge() { # model, record, attacks
    [ -e "$2" ] && return
    python -m robnet_zoo.eval --model "$1" --attack "$3" --out "$2" --resume
}

while read -r network channels epochs twin_epochs lr settings; do
    [ -n "$network" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $network "* ]] || continue
    run=runs/digits/$network
    weights=robnet_zoo/zoo/pretrained/$network.digits twin=$weights-natural
    record=eval/results/$network.digits.json twin_record=eval/results/$network.digits-natural.json

    # shellcheck disable=SC2086 # settings are words
    make_weights "$weights" "$run" "$network" "$channels" digits "$epochs" "lr=$lr" $settings
    judge "$network.digits" "$record" fgsm,pgd20,pgd100,pgd-margin,cr,autoattack

    make_weights "$twin" "$run.natural" "$network" "$channels" natural "$twin_epochs" "lr=$lr"
    judge "$network.digits-natural" "$twin_record" fgsm,pgd20
    python -m robnet_zoo attach "$twin" "$twin_record"

    python -m robnet_zoo attach "$weights" "$record" --natural "$twin_record"
done <<<"$networks"
python -m robnet_zoo.eval tables
