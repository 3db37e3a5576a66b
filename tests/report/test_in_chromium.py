"""The report as a person uses it: headless Chromium opens the file, without a network. `make test-report`."""

import json
import shutil
from dataclasses import replace

import pytest

from aesop.options import load_options
from aesop.reporting.autoencoder import autoencoder_of
from aesop.reporting.pd_curve import Point
from aesop.reporting.report.page import build_page
from aesop.reporting.report.pictures import Format
from aesop.reporting.report.results import read_results
from aesop.utils.images import read_image

pytestmark = pytest.mark.browser

SIZES = {'laptop': (1366, 768), 'large': (2560, 1440)}
QUIET = ('gpu', 'quic', 'background-networking', 'component-update', 'sync')
FLAGS = ['--no-sandbox', '--no-first-run', *(f'--disable-{name}' for name in QUIET)]
CURVE = [Point('mixed', n / 2, 'Set14', {'psnr': 26 + n, 'ssim': 0.7 + n / 10}) for n in range(3)]


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api', reason="needs playwright: pip install -e '.[report-test]'")
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None:
        pytest.skip('needs Chromium, e.g. `apt-get install chromium`')
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope='module')
def results(made):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        bicubic, tiny = (read_results(f'results/{name}') for name in ('bicubic', 'tiny'))
        tiny = replace(tiny, missing={'Set14': {'lpips': 'the weights cannot be had'}}, published='RRDB AESOP 128')
        page = build_page(
            [bicubic, tiny],
            beside=['RRDB LDL 128'],
            curves=CURVE,
            axes=('psnr', 'ssim'),
            ae=autoencoder_of(load_options('ae.yml')),
            how=Format(),
        )
        (made / 'page.html').write_text(page, encoding='utf-8')
    return made


@pytest.fixture(params=SIZES)
def page(request, browser, results):
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={'width': width, 'height': height}, offline=True)
    page = context.new_page()
    page.problems, page.requests = [], []
    page.on('pageerror', lambda error: page.problems.append(str(error)))
    page.on('console', lambda message: page.problems.append(message.text) if message.type == 'error' else None)
    page.on('request', lambda request: page.requests.append(request.url))
    page.goto((results / 'page.html').as_uri())
    yield page
    assert page.problems == []
    assert [url[:5] for url in page.requests if url[:5] not in ('file:', 'data:')] == []
    context.close()


def test_the_table_has_the_numbers_that_test_py_wrote(page, results):
    for name in ('bicubic', 'tiny'):
        with open(results / f'results/{name}/metrics.json') as file:
            values = json.load(file)['datasets']['Set14']
        row = page.locator(f'#table-list tr[data-method="{name}"]')
        for metric, digits in (('psnr', 3), ('ssim', 4), ('lr_psnr', 3)):
            cell = row.locator(f'[data-metric={metric}] span').first
            assert cell.inner_text() == f'{values[metric]:.{digits}f}'
            assert cell.get_attribute('class') == ('best' if name == 'bicubic' else 'value')
    psnr = page.locator('#table-list tr[data-method=tiny] [data-metric=psnr] .difference')
    assert psnr.inner_text() == f'{values["psnr"] - 27.361:.3f}'.replace('-', '−')
    assert psnr.get_attribute('title') == 'published: 27.361 (Table 1, README (benchmarks))'
    ldl = page.locator('#table-list tr[data-method="RRDB LDL 128"]')
    assert ldl.locator('[data-metric=psnr]').inner_text() == '27.228'


def test_a_missing_metric_is_shown_as_missing(page):
    cell = page.locator('#table-list tr[data-method=tiny] [data-metric=lpips]')
    assert cell.inner_text() == 'missing'
    assert cell.locator('span').get_attribute('title') == 'the weights cannot be had'
    assert 'Set14, tiny: LPIPS is missing: the weights cannot be had' in page.locator('#note-list').inner_text()


def split_of(page):
    return page.evaluate("parseFloat(document.getElementById('stage').style.getPropertyValue('--split'))")


def shown_at(page, x):
    """Which of the two images is seen at a share of the stage's width, by the clipping that the browser computed."""
    clip = page.evaluate("getComputedStyle(document.getElementById('left-image')).clipPath")
    box = page.locator('#stage').bounding_box()
    hidden = page.evaluate(
        '([w]) => {const m = getComputedStyle(document.getElementById("divider")).left; return parseFloat(m) / w}',
        [box['width']],
    )
    assert clip.startswith('inset(')
    return 'left' if x < hidden else 'right'


def test_the_slider_moves_the_border_between_two_methods(page):
    assert split_of(page) == 50
    assert (shown_at(page, 0.4), shown_at(page, 0.6)) == ('left', 'right')

    slider = page.locator('#split')
    slider.focus()
    for _ in range(20):
        page.keyboard.press('ArrowLeft')  # half a percent each
    assert split_of(page) == 40 and slider.input_value() == '40'
    assert shown_at(page, 0.45) == 'right'

    page.locator('#divider').scroll_into_view_if_needed()
    stage = page.locator('#stage').bounding_box()
    middle = stage['y'] + stage['height'] * 0.25
    page.mouse.move(stage['x'] + 0.4 * stage['width'], middle)
    page.mouse.down()
    page.mouse.move(stage['x'] + 0.8 * stage['width'], middle, steps=4)
    page.mouse.up()
    assert split_of(page) == pytest.approx(80, abs=0.6)
    assert shown_at(page, 0.75) == 'left'
    page.mouse.move(stage['x'], middle)
    assert split_of(page) == pytest.approx(80, abs=0.6)  # released


def colours(page, side):
    """The pixels of the middle row of the left or right image, as the browser decoded them."""
    return page.evaluate(
        """async (id) => {
            const image = document.getElementById(id);
            await image.decode();
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const row = context.getImageData(0, canvas.height >> 1, canvas.width, 1).data;
            return [...row].filter((_, n) => n % 4 < 3);
        }""",
        f'{side}-image',
    )


def test_any_two_methods_are_compared(page, results):
    page.select_option('#left', 'Ground truth')
    page.select_option('#right', 'tiny')
    files = {'left': 'gt/cat.png', 'right': 'results/tiny/visualization/Set14/cat.png'}
    for side, file in files.items():
        assert colours(page, side) == read_image(results / file)[48].flatten().tolist()
    page.keyboard.press('Escape')
    page.locator('#swap').click()
    assert page.locator('#left').input_value() == 'tiny' and page.locator('#left-name').inner_text() == 'tiny'
    assert colours(page, 'left') == read_image(results / files['right'])[48].flatten().tolist()


def patch(page, method):
    """(position of the patch as drawn, the colour in the middle of its canvas)."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('#patches canvas')].every((c) => c.dataset.patch)"
        " && new Set([...document.querySelectorAll('#patches canvas')].map((c) => c.dataset.patch)).size === 1"
    )
    return page.evaluate(
        """(method) => {
            const canvas = document.querySelector(`#patches canvas[data-method="${method}"]`);
            const middle = canvas.getContext('2d').getImageData(canvas.width / 2 + 2, canvas.height / 2 + 2, 1, 1).data;
            return [canvas.dataset.patch.split(',').map(Number), [...middle].slice(0, 3)];
        }""",
        method,
    )


def test_the_patches_of_all_methods_move_together(page, results):
    pictures = {'Ground truth': 'gt/cat.png', 'tiny': 'results/tiny/visualization/Set14/cat.png'}

    def check(left, top, side):
        for method, file in pictures.items():
            place, colour = patch(page, method)
            assert place == [left, top, side]
            assert colour == read_image(results / file)[top + side // 2, left + side // 2].tolist()

    check(36, 24, 48)  # the middle of 120 x 96 pixels
    assert page.locator('#patches canvas').count() == 5
    page.locator('#stage').focus()
    page.keyboard.press('ArrowRight')
    page.keyboard.press('ArrowUp')
    page.wait_for_function("document.querySelector('#patches canvas').dataset.patch === '42,18,48'")
    check(42, 18, 48)
    page.keyboard.press('+')
    page.wait_for_function("document.querySelector('#patches canvas').dataset.patch === '46,22,40'")
    check(46, 22, 40)
    stage = page.locator('#stage').bounding_box()
    page.mouse.click(stage['x'] + 0.05 * stage['width'], stage['y'] + 0.9 * stage['height'])
    page.wait_for_function("document.querySelector('#patches canvas').dataset.patch === '0,56,40'")
    check(0, 56, 40)  # kept inside the image


def test_images_are_walked_through_and_their_numbers_shown(page, results):
    with open(results / 'results/tiny/metrics.json') as file:
        images = json.load(file)['images']['Set14']
    psnr = page.locator('#numbers tr[data-method=tiny] [data-metric=psnr]')
    assert psnr.inner_text() == f'{images["cat"]["psnr"]:.3f}'
    page.locator('#next').click()
    assert page.locator('#image option:checked').inner_text() == 'small'
    assert psnr.inner_text() == f'{images["small"]["psnr"]:.3f}'
    assert '72 × 64 pixels' in page.locator('#about-image').inner_text()
    page.locator('#stage').focus()
    page.keyboard.press('n')  # from the last to the first
    assert page.locator('#image option:checked').inner_text() == 'cat'
    assert f'PSNR {images["cat"]["psnr"]:.3f}' in page.locator('#patches figure:has([data-method=tiny])').inner_text()


def test_maps_are_shown_with_their_scale(page):
    assert page.locator('#scale').is_hidden()
    page.locator('#stage').focus()
    before = colours(page, 'right')
    for kind, words in (('error', '|SR − GT|'), ('aesop', '|AE(SR) − AE(GT)|')):
        page.keyboard.press('m')
        assert page.locator('#kind').input_value() == kind
        assert words in page.locator('#scale').inner_text()
        assert colours(page, 'right') != before
        assert page.locator('#patches figure:has([data-method=tiny])').inner_text().split('mean ')[1] > '0.0'
    page.keyboard.press('m')
    assert page.locator('#scale').is_hidden() and colours(page, 'right') == before


def test_the_plot_has_marks_and_curves_over_any_two_metrics(page):
    def labels():
        return [point.get_attribute('aria-label') for point in page.locator('#plot .point').all()]

    bicubic = page.locator('#table-list tr[data-method=bicubic] [data-metric=psnr] span').first.inner_text()
    assert [label for label in labels() if label.startswith('bicubic')] == [
        f'bicubic: PSNR {bicubic}, SSIM ' + labels()[0].split('SSIM ')[1]
    ]
    assert [label for label in labels() if label.startswith('mixed')] == [
        'mixed (curve): PSNR 26.000, SSIM 0.7000, alpha 0',
        'mixed (curve): PSNR 27.000, SSIM 0.8000, alpha 0.5',
        'mixed (curve): PSNR 28.000, SSIM 0.9000, alpha 1',
    ]
    assert len(labels()) == 6 and any(label.startswith('RRDB LDL 128 (published)') for label in labels())
    page.select_option('#plot-y', 'lr_psnr')
    assert len(labels()) == 3 and all('LR-PSNR' in label for label in labels())
    page.select_option('#plot-y', 'lpips')
    assert 'RRDB LDL 128 (published): PSNR 27.228, LPIPS 0.1132' in labels()


def test_nothing_sticks_out_and_the_viewer_fits_the_window(page):
    width, height = page.evaluate('[innerWidth, innerHeight]')
    assert page.evaluate('document.documentElement.scrollWidth') == width
    page.evaluate("document.getElementById('images').scrollIntoView()")
    stage, slider = (page.locator(name).bounding_box() for name in ('#stage', '#split'))
    assert stage['width'] / stage['height'] == pytest.approx(120 / 96, rel=0.01)
    assert slider['y'] + slider['height'] <= height  # the whole image and its slider at once
    patches = page.locator('#patches').bounding_box()
    assert patches['x'] >= stage['x'] + stage['width'] and patches['y'] == pytest.approx(stage['y'], abs=4)
    bars = {round(box['y'], -1) for box in (page.locator(f'#{name}').bounding_box() for name in ('dataset', 'kind'))}
    assert len(bars) == 1  # the tools are in one line


def test_light_and_dark_have_readable_text(browser, results):
    for scheme, brighter in (('light', 'back'), ('dark', 'text')):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto((results / 'page.html').as_uri())
        script = """() => {
            const style = getComputedStyle(document.body);
            return [style.backgroundColor, style.color].map((text) => text.match(/\\d+/g).map(Number));
        }"""
        back, text = (sum(colour) / 3 for colour in page.evaluate(script))
        assert abs(back - text) > 180 and (back > text) == (brighter == 'back')
        context.close()
