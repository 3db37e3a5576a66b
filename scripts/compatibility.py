"""Tests the option files of other programs and writes the table of docs/compatibility.md.

python -m scripts.compatibility
"""

import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / 'docs/compatibility.md'
TESTS = 'tests/options/test_peer_files.py'
BEGIN, END = '<!-- scripts/compatibility.py -->\n', '<!-- end -->\n'


class Outcomes:
    """What pytest found out of each file: {file: {'loads' or 'runs': outcome}} and notes."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {}
        self.notes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test, _, file = report.nodeid.partition('::')[2].rstrip(']').partition('[')
        if report.when == 'call' or report.failed:
            self.found.setdefault(file, {})[test.removeprefix('test_it_')] = report.outcome
            notes = dict(report.user_properties).get('note', '')
            if report.failed:
                notes = str(report.longrepr).strip().splitlines()[-1]
            self.notes[file] = self.notes.get(file) or notes


def table(outcomes: Outcomes) -> str:
    lines = ['| program | file | loads | runs | note |', '|---|---|---|---|---|']
    for file, found in outcomes.found.items():
        program, _, name = file.partition('/')
        said = ('yes' if found.get(test) == 'passed' else 'no' for test in ('loads', 'runs'))
        lines.append(f'| {program} | `{name}` | {" | ".join(said)} | {outcomes.notes[file]} |')
    return '\n'.join(lines) + '\n'


def main() -> int:
    outcomes = Outcomes()
    code = pytest.main(['-q', '-p', 'no:cacheprovider', TESTS], plugins=[outcomes])
    text = PAGE.read_text(encoding='utf-8')
    before, after = text.split(BEGIN)[0], text.split(END)[-1]
    PAGE.write_text(f'{before}{BEGIN}{table(outcomes)}{END}{after}', encoding='utf-8')
    return int(code)


if __name__ == '__main__':
    sys.exit(main())
