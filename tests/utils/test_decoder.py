"""Damaged JPEGs that decode all the same: libjpeg says so on standard error alone."""

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from aesop.errors import UserError
from aesop.utils.decoder import decoder_warnings
from aesop.utils.images import decode_image

NOISE = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
WHOLE = cv2.imencode('.jpg', NOISE)[1].tobytes()
CUT = WHOLE[: len(WHOLE) // 2] + b'\xff\xd9'
OVERWRITTEN = WHOLE[:3000] + 40 * b'\x55' + WHOLE[3040:]


@pytest.mark.parametrize('data', [CUT, OVERWRITTEN], ids=['cut, with an end marker', 'overwritten'])
def test_a_damaged_jpeg_is_refused_with_the_decoders_words(data, capfd):
    with pytest.raises(UserError, match=r'a.jpg: the file is damaged \(Corrupt JPEG data.*\); replace'):
        decode_image(data, 'a.jpg')
    assert capfd.readouterr().err == ''


def test_a_lenient_reader_gets_what_is_left():
    assert decode_image(CUT, 'a.jpg', strict=False).shape == NOISE.shape


def test_others_may_write_to_standard_error_meanwhile(capfd):
    with decoder_warnings(WHOLE) as heard:
        os.write(2, b'a warning of another thread\n')
    assert heard == []
    assert capfd.readouterr().err == 'a warning of another thread\n'
    os.write(2, b'as before\n')
    assert capfd.readouterr().err == 'as before\n'


def test_threads_do_not_take_each_others_complaints_for_their_own():
    def is_whole(data):
        try:
            return decode_image(data, 'a.jpg').shape == NOISE.shape
        except UserError:
            return False

    images = [CUT if n % 16 == 3 else WHOLE for n in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(is_whole, images)) == [data is WHOLE for data in images]


def test_without_standard_error_images_are_read_all_the_same():
    kept = os.dup(2)
    os.close(2)
    try:
        assert decode_image(WHOLE, 'a.jpg').shape == NOISE.shape
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_a_forked_process_hears_its_own():
    with decoder_warnings(WHOLE):
        child = os.fork()
        if child == 0:
            try:
                decode_image(CUT, 'a.jpg')
            except UserError:
                os._exit(7)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
