#!/bin/sh
# Makes the peers' environments in the folder given, one each: together they do not resolve.
# MLServer 1.7.1 cannot start worker processes under uvloop 0.22 or newer.
set -eu
folder=${1:?usage: prepare.sh FOLDER}
for peer in "litserve litserve>=0.2.19,<0.3" "mlserver mlserver>=1.7.1,<1.8 uvloop<0.22"; do
    name=${peer%% *}
    [ -e "$folder/$name/.ready" ] && continue
    python3 -m venv "$folder/$name"
    "$folder/$name/bin/python" -m pip install --quiet ${peer#* } onnxruntime simplejpeg numpy
    touch "$folder/$name/.ready"
done
if [ ! -e "$folder/river/.ready" ]; then
    python3 -m venv "$folder/river"
    "$folder/river/bin/python" -m pip install --quiet "river>=0.26,<0.27"
    touch "$folder/river/.ready"
fi
