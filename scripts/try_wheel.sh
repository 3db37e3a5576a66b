#!/usr/bin/env bash
# Builds the sdist, a wheel from it, and tests the wheel in an empty folder, without this checkout.
#
#     scripts/try_wheel.sh [PYTHON]     PYTHON must have the dependencies; default: .venv/bin/python
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-$root/.venv/bin/python}
export OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=${ONEDNN_MAX_CPU_ISA:-AVX512_CORE_BF16}
unset PYTHONPATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source" "$folder/empty"

# What git would check out, and what is new: building leaves files behind, which are not wanted here.
cd "$root"
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - 2>/dev/null \
    | tar -xf - -C "$folder/source"
(cd "$folder/source" && "$python" -c "from setuptools import build_meta; build_meta.build_sdist('$folder')" > /dev/null 2>&1)
"$python" -m pip wheel --quiet --no-deps --no-build-isolation -w "$folder" "$folder"/aesop_sr-*.tar.gz

# A bare environment that borrows the dependencies, but not this package, which may be installed there as editable.
"$python" -m venv --without-pip "$folder/venv"
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    > "$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/dependencies.pth"
"$python" -m pip --python "$folder/venv/bin/python" install --quiet --no-deps --no-index "$folder"/aesop_sr-*.whl
PATH=$folder/venv/bin:$PATH
cd "$folder/empty"

python -c "import aesop; assert '$folder/venv' in aesop.__file__, aesop.__file__"
aesop --version
aesop --help > /dev/null
python - <<'PYTHON'
import numpy as np
from aesop.utils.images import save_image

rng = np.random.default_rng(0)
for number in range(4):
    save_image(f'images/{number}.png', rng.integers(0, 256, (24, 24, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1))
PYTHON
small='num_gpu=0 datasets.train={name: t, type: BicubicImageDataset, dataroot_gt: images, gt_size: 64, batch_size_per_gpu: 1}'
small+='|datasets.val={name: v, type: BicubicImageDataset, dataroot_gt: images}'
IFS='|' read -ra small <<< "${small/ /|}"
aesop train -opt train_ae_rrdb.yml --debug --set "${small[@]}" path.pretrain_network_decoder=~ \
    network_g.enc_opt.num_feat=48 network_g.dec_opt.num_feat=8 network_g.dec_opt.num_block=1
aesop train -opt train_psnr_rrdb.yml --debug --set "${small[@]}" network_g.num_feat=8 network_g.num_block=1
aesop upscale images/0.png -o 0_x4.png --weights experiments/debug_*PSNR*/models/net_g_4.pth
aesop prepare --dry-run Set5 > /dev/null
aesop options test_aesop_rrdb > /dev/null
aesop upscale images/1.png -o 1_x4.png  # with the weights that come along
python -c "from aesop.evaluation.published import find; assert find('RRDB AESOP 128')"
python -c "import cv2; assert all(cv2.imread(f'{n}_x4.png').shape == (384, 384, 3) for n in '01')"
echo "the wheel works in an empty folder"
