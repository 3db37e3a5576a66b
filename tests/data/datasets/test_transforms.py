import numpy as np

from aesop.data.datasets.transforms import Window, augment, random_window

SQUARE = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)


def outcomes(flip, rotate):
    rng = np.random.default_rng(0)
    return [augment([SQUARE], flip, rotate, rng)[0].tobytes() for _ in range(400)]


def test_all_eight_symmetries_come_equally_often():
    seen = outcomes(True, True)
    expected = {np.rot90(SQUARE[:, ::flip], k).tobytes() for flip in (1, -1) for k in range(4)}
    assert set(seen) == expected and len(expected) == 8
    assert min(seen.count(one) for one in expected) > 25


def test_options_forbid():
    assert set(outcomes(False, False)) == {SQUARE.tobytes()}
    assert set(outcomes(True, False)) == {SQUARE.tobytes(), SQUARE[:, ::-1].tobytes()}
    assert len(set(outcomes(False, True))) == 4


def test_images_move_together():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other = augment([SQUARE, SQUARE + 10], True, True, rng)
        np.testing.assert_array_equal(one + 10, other)


def test_options_do_not_shift_later_draws():
    after = []
    for flip in (True, False):
        rng = np.random.default_rng(2)
        augment([SQUARE], flip, False, rng)
        after.append(rng.random())
    assert after[0] == after[1]


def test_every_position_is_drawn():
    rng = np.random.default_rng(0)
    windows = {random_window(5, 4, 3, rng) for _ in range(200)}
    assert windows == {Window(top, left, 3, 3) for top in range(3) for left in range(2)}


def test_window():
    image = np.arange(20).reshape(4, 5, 1)
    window = Window(1, 2, 2, 2)
    assert window.cut(image)[..., 0].tolist() == [[7, 8], [12, 13]]
    assert window.scaled(3) == (3, 6, 6, 6)
    assert window.grown(1, 4, 5) == (0, 1, 4, 4)
    assert window.grown(9, 4, 5) == (0, 0, 4, 5)
    assert (window.relative_to(window.grown(1, 4, 5)).cut(window.grown(1, 4, 5).cut(image)) == window.cut(image)).all()
