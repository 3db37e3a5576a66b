"""The site, the notebook and the container file, as far as can be checked without building them."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / 'notebooks/quickstart.ipynb').read_text())


def pages(entries):
    for entry in entries:
        for value in entry.values():
            yield from pages(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_site():
    class Loader(yaml.SafeLoader):
        pass

    site = yaml.load((ROOT / 'mkdocs.yml').read_text(), Loader)
    found = {path.relative_to(ROOT / 'docs').as_posix() for path in (ROOT / 'docs').rglob('*.md')}
    assert set(pages(site['nav'])) == found


def test_links_between_pages_lead_somewhere():
    for page in (ROOT / 'docs').rglob('*.md'):
        for target in re.findall(r'\]\((?!https?:|#)([^)#]+)', page.read_text()):
            assert (page.parent / target).exists(), f'{page}: {target}'


def test_the_reference_names_what_exists():
    for name in re.findall(r'^::: (\S+)', (ROOT / 'docs/reference.md').read_text(), re.MULTILINE):
        module, _, attribute = name.rpartition('.')
        try:
            assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name)
        except ModuleNotFoundError:
            pytest.fail(f'{name} not found')


def test_the_notebook_is_python_and_has_no_output():
    cells = [cell for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code']
    assert len({cell['id'] for cell in NOTEBOOK['cells']}) == len(NOTEBOOK['cells'])
    for cell in cells:
        source = ''.join(line for line in cell['source'] if not line.startswith(('!', '%')))
        ast.parse(source)
        assert cell['outputs'] == []
    imported = '\n'.join(''.join(cell['source']) for cell in cells)
    assert 'from aesop import AESOPLoss' in imported and '!aesop upscale' in imported


def test_the_notebook_runs(tmp_path, monkeypatch):
    """All cells but those of the shell and of the display, on a small crop."""
    monkeypatch.chdir(tmp_path)
    scope = {}
    for cell in NOTEBOOK['cells']:
        source = ''.join(cell['source']).replace('range(50)', 'range(2)').replace('60:188, 120:280', '60:92, 120:152')
        if cell['cell_type'] == 'code' and not source.startswith(('!', '%')) and 'IPython' not in source:
            exec(compile(source, 'quickstart.ipynb', 'exec'), scope)
    assert scope['loss'].item() > 0 and Path('photo.png').is_file()


def test_the_container_installs_the_package_and_its_entry():
    text = (ROOT / 'Dockerfile').read_text()
    assert 'ENTRYPOINT ["aesop"]' in text
    extras = re.search(r'/opt/aesop\[([\w,]+)\]', text)[1].split(',')
    assert all(f"'{extra}':" in (ROOT / 'setup.py').read_text() for extra in extras)
