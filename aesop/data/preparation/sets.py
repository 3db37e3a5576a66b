"""Prepares data sets for training and testing: downloads and unpacks them into datasets/ and makes the LR images.

Interrupted work is resumed, missing or damaged files are made again, and further scales are added. `data_sources.yml`
lists the data sets.
"""

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from aesop.data.preparation import prepare
from aesop.data.preparation.archive import Member, open_images
from aesop.data.preparation.parallel import cores
from aesop.data.preparation.prepare import Folder, Job
from aesop.errors import UserError, error_context
from aesop.registry import did_you_mean
from aesop.utils.console import say
from aesop.utils.download import UNVERIFIED, fetch, sha256
from aesop.utils.files import lock

SOURCES = Path(__file__).with_name('data_sources.yml')
Set = dict[str, Any]  # an entry of SOURCES with its defaults


@dataclass
class Request:
    """Arguments of `prepare_all`.

    Args:
        names: names of data sets.
        paths: folders or archives that contain them; empty: download them.
        match: glob of the images in `paths`, e.g. 'Set5_HR/*'.
        scale: scales of LR images; None: 4 for benchmarks, none for others.
        root: folder that contains a sub-folder for each data set.
        workers: number of processes; None: one per core.
        dry_run: only print what would be done; without names, for all data sets.
    """

    names: list[str]
    paths: list[Path] | None = None
    match: str | None = None
    scale: list[int] | None = None
    root: Path = Path('datasets')
    workers: int | None = None
    dry_run: bool = False


def prepare_all(args: Request) -> None:
    """Prepares the requested data sets.

    Raises:
        UserError: all problems, by data set.
    """
    sets = chosen(read_sources(), args)
    args.workers = args.workers or cores()
    if args.dry_run:
        say('\n'.join(describe(entry, args) for entry in sets))
        return
    problems: list[str] = []
    with lock(
        args.root / '.prepare.lock', f'{args.root} is being prepared by another process; wait for it, or stop it'
    ):
        for entry in sets:
            with error_context(entry['name'], problems):
                run(entry, args, alone=len(sets) == 1)
    if problems:
        raise UserError(problems)


def read_sources() -> dict[str, Set]:
    """The entries with their defaults; `taken` are the sub-folders that are not made from others."""
    entries = yaml.safe_load(SOURCES.read_text(encoding='utf-8'))
    for name, entry in entries.items():
        taken = list(entry.get('files', [entry.get('into', 'HR')]))
        entries[name] = {'name': name, 'folder': name, 'urls': [], 'parts': [], 'taken': taken, **entry}
    return entries


def chosen(known: dict[str, Set], args: Request) -> list[Set]:
    """The requested data sets, each after those that it consists of."""
    if not args.names and not args.dry_run:
        raise UserError(f'name a data set. Known: {", ".join(known)}. --dry-run describes them')
    if any(scale < 2 for scale in args.scale or ()) or (args.workers is not None and args.workers < 1):
        raise UserError('--scale must be at least 2, and --workers at least 1')
    by_name = {name.lower(): name for name in known}
    wrong = [name for name in args.names if name.lower() not in by_name]
    if wrong:
        raise UserError([f'unknown data set "{name}".{did_you_mean(name, list(known))}' for name in wrong])
    names: dict[str, None] = {}

    def add(name: str) -> None:
        for part in known[name]['parts']:
            add(part)
        names[name] = None

    for name in args.names or known:
        add(by_name[name.lower()])
    return [known[name] for name in names]


def run(entry: Set, args: Request, alone: bool) -> None:
    """Completes a data set."""
    folder = Folder(args.root / entry['folder'])
    taken = [file for file in folder.entries if part_of(file) in entry['taken']]
    damaged = folder.damaged(taken, args.workers)
    for file in damaged:
        say(f'{folder.path / file} is missing or damaged and will be made again')
    if damaged or folder.about is None:
        join = join_parts if entry['parts'] else take_images
        about, wanted = join(entry, folder, args, alone)
    else:
        about, wanted = folder.about, set(taken)
        if args.paths:
            say(f'{folder.path} is complete; to make it from something else, remove this folder first')
    wanted |= make_lr(entry, folder, sorted(file for file in wanted if part_of(file) == 'HR'), args)
    folder.finish(about, wanted)
    counts = Counter(part_of(file) for file in folder.entries)
    say(f'{folder.path}: {", ".join(f"{count} in {part}" for part, count in sorted(counts.items()))}')
    if (count := counts[entry['taken'][-1]]) != entry['images']:
        say(f'  note: {entry["name"]} was published with {entry["images"]} images, this folder has {count}')


def part_of(file: str) -> str:
    return file.partition('/')[0]


def describe(entry: Set, args: Request) -> str:
    """Describes a data set and what would be done."""
    path = args.root / entry['folder']
    lines = [f'{entry["name"]}: {entry["about"]}; {entry["images"]} images; licence: {entry["licence"]}']
    if entry['parts']:
        lines.append(f'made of {" and ".join(entry["parts"])}')
    elif args.paths:
        lines += [f'taken from {path}' for path in find_sources(entry, args)]
    elif entry['urls']:
        lines += [f'fetched from {url}' for url in entry['urls']]
        lines.append(f'about {float(entry["size"]) / 1e9:.3g} GB' if 'size' in entry else 'of unknown size')
        lines.append('sha256 known' if 'sha256' in entry else 'no sha256 known')
    else:
        lines.append(f'manual: get it from {entry["page"]}, then give --from FOLDER_OR_ARCHIVE')
    if entry.get('unverified'):
        lines.append(UNVERIFIED)
    made = [*entry['taken'], *(f'LRx{scale}' for scale in scales(entry, args))]
    modcrop = f', sides cropped to a multiple of {entry["modcrop"]}' if 'modcrop' in entry else ''
    there = '; complete' if (path / 'manifest.json').exists() else ''
    lines.append(f'goes to {path}/{{{",".join(made)}}}{modcrop}{there}')
    return '\n    '.join(lines)


# The images


def take_images(entry: Set, folder: Folder, args: Request, alone: bool) -> tuple[dict[str, Any], set[str]]:
    """Puts the published images into the folder; returns the manifest's entries about the data set, and its files."""
    problems: list[str] = []
    paths = find_sources(entry, args)
    archives = {path.name: sha256(path) for path in paths if path.is_file()}
    for path in paths:
        if path.name in archives:
            verify(entry, path, path.name, archives[path.name])
    with ExitStack() as stack:
        found = find_images(entry, {path: stack.enter_context(open_images(path)) for path in paths}, args.match, alone)
        names = target_names(entry, [(part, member.name) for _, part, member in found])
        multiple = entry.get('modcrop')
        how = (f'cropped to {multiple}', partial(prepare.crop, multiple)) if multiple else ('copied', prepare.copy)

        def jobs() -> Iterator[Job]:
            for name, (path, _, member) in zip(names, found):
                try:
                    yield Job(name, *how, f'{path.name}/{member.name}', member.read())
                except UserError as error:
                    problems.extend(error.problems)

        done = folder.make(jobs(), problems, entry['name'], args.workers, len(found))
    if problems:
        raise UserError(
            [*problems, f'{len(done)} images are in {folder.path}; repair or remove these, then run the command again']
        )
    return {'name': entry['name'], 'licence': entry['licence'], 'archives': archives}, done


def find_sources(entry: Set, args: Request) -> list[Path]:
    """The folders and archives of the data set; archives are downloaded if no path is given."""
    names = [url.rpartition('/')[2] for url in entry['urls']]
    if args.paths:
        given = [[path / name for name in names if (path / name).is_file()] or [path] for path in args.paths]
        return [path for paths in given for path in paths]
    if not names:
        raise UserError(
            f'this data set cannot be downloaded automatically: get it from {entry["page"]} '
            f'(licence: {entry["licence"]}), then aesop prepare {entry["name"]} --from FOLDER_OR_ARCHIVE'
        )
    return [obtain(entry, url, args.root / 'downloads' / name) for url, name in zip(entry['urls'], names)]


def obtain(entry: Set, url: str, path: Path) -> Path:
    """Downloads an archive unless it exists."""
    if path.is_file():
        return path
    part = path.with_name(f'{path.name}.part')
    part.parent.mkdir(parents=True, exist_ok=True)
    needed, free = 2 * float(entry.get('size', 0)), shutil.disk_usage(part.parent).free  # packed and unpacked
    if needed > free:
        raise UserError(f'{part.parent}: about {needed / 1e9:.3g} GB are needed and {free / 1e9:.3g} GB are free')
    say(f'{url} (licence: {entry["licence"]}{f"; {UNVERIFIED}" if entry.get("unverified") else ""})')
    fetch(url, part)
    digest = sha256(part)
    try:
        verify(entry, url, path.name, digest)
    except UserError:
        part.unlink()  # resuming it could never succeed
        raise
    part.rename(path)
    known = path.name in entry.get('sha256', {})
    size, proof = path.stat().st_size / 1e6, 'as published' if known else 'no published hash to compare with'
    say(f'{path}: {size:.1f} MB, sha256 {digest} ({proof}); it can be deleted when the data set is complete')
    return path


def verify(entry: Set, place: str | Path, name: str, digest: str) -> None:
    """UserError if the archive called `name` is known to have another sha256."""
    wanted = entry.get('sha256', {}).get(name, digest)
    if digest != wanted:
        raise UserError(
            f'{place} has the sha256 {digest}, not {wanted}: it is damaged, or a different file; download it again'
        )


def find_images(
    entry: Set, sources: dict[Path, list[Member]], match: str | None, alone: bool
) -> list[tuple[Path, str, Member]]:
    """(source, sub-folder, member) of each image of the data set."""
    found = [
        (path, part, member)
        for path, members in sources.items()
        for part, of_part in pick(entry, members, match, alone).items()
        for member in of_part
    ]
    if not found:
        raise UserError(nothing_found(entry, sources))
    return found


def pick(entry: Set, members: list[Member], match: str | None, alone: bool) -> dict[str, list[Member]]:
    """The members that belong to each sub-folder (HR, ...) of the data set, by the first rule that matches any.

    The rules: the paths in the published archives; a folder with the name of the data set; and, if only one data set is
    requested, a folder with the name of the sub-folder, or the top level.
    """
    parts, main_part = entry['files'], entry['taken'][-1]
    rules = [parts]
    for name in dict.fromkeys((entry['name'], entry['folder'])):
        rules += [{part: f'{name}/{part}/*' for part in parts}, {main_part: f'{name}/*'}]
    if alone:
        rules += [{part: f'/{part}/*' for part in parts}, {main_part: '/*'}]
    for rule in [{main_part: match}] if match else rules:
        found = {part: [each for each in members if matches(each.name, glob)] for part, glob in rule.items()}
        if any(found.values()):
            return found
    return {}


def matches(name: str, glob: str) -> bool:
    """Whether the end of a name matches `glob`, or the whole name if the glob starts with a slash."""
    return PurePosixPath(f'/{name}' if glob.startswith('/') else name).match(glob)


def nothing_found(entry: Set, sources: dict[Path, list[Member]]) -> list[str]:
    problems = []
    for path, members in sources.items():
        folders = Counter(str(PurePosixPath(member.name).parent) for member in members)
        held = ', '.join(f'{folder} ({count})' for folder, count in folders.most_common(8))
        problems.append(
            f'{path}: cannot tell which images belong to the data set; there are images in {held}'
            f'{" and more" if len(folders) > 8 else ""}. '
            f"Select them with --match, e.g. --match '{entry['name']}_{entry['taken'][-1]}/*'"
        )
    return problems


def target_names(entry: Set, found: list[tuple[str, str]]) -> list[str]:
    """Target path of each (sub-folder, name in its source), relative to the folder of the data set."""
    parents = {part: [str(PurePosixPath(name).parent) for each, name in found if each == part] for part, _ in found}
    names = []
    for part, name in found:
        path = PurePosixPath(name)
        folders = path.parent.relative_to(commonpath(parents[part])) if entry.get('subfolders') else ''
        suffix = '.png' if 'modcrop' in entry else path.suffix
        names.append(str(PurePosixPath(part, folders, re.sub(entry.get('strip', '$^'), '', path.stem) + suffix)))
    counts = Counter(str(PurePosixPath(name).with_suffix('')) for name in names)
    twice = [f'{count} images would be named {name}' for name, count in counts.items() if count > 1]
    if twice:
        raise UserError([*twice, 'keep one of each, or select with --match'])
    return names


def join_parts(entry: Set, folder: Folder, args: Request, _: bool) -> tuple[dict[str, Any], set[str]]:
    """Like `take_images`, for a data set that consists of others."""
    problems: list[str] = []
    jobs = []
    for name in entry['parts']:
        part = Folder(args.root / name)
        if part.about is None:
            raise UserError(f'{part.path} is not complete yet')
        for file in sorted(file for file in part.entries if part_of(file) == 'HR'):
            jobs += [part_job(entry, part, file, Fraction(size)) for size in entry.get('sizes', {}).get(name, [1])]
    done = folder.make(jobs, problems, entry['name'], args.workers, len(jobs))
    if problems:
        raise UserError(problems)
    return {'name': entry['name'], 'licence': entry['licence'], 'parts': entry['parts']}, done


def part_job(entry: Set, part: Folder, file: str, size: Fraction) -> Job:
    source, path = part.path / file, PurePosixPath(entry['taken'][0], *PurePosixPath(file).parts[1:])
    if size == 1:
        return Job(str(path), 'linked', partial(prepare.link, source), f'{part.path.name}/{file}', source)
    path = path.with_name(f'{path.stem}_{round(100 * size)}.png')
    how = f"MATLAB's bicubic, {size}", partial(prepare.resize, size)
    return Job(str(path), *how, f'{part.path.name}/{file}', source)


# The LR images


def scales(entry: Set, args: Request) -> list[int]:
    if entry['use'] == 'real' or 'HR' not in entry['taken']:
        return []
    return args.scale or ([4] if entry['use'] == 'benchmark' else [])


def make_lr(entry: Set, folder: Folder, gts: list[str], args: Request) -> set[str]:
    """Makes the LR images of the requested and the existing scales; returns their names."""
    before = {int(part_of(file)[3:]) for file in folder.entries if part_of(file) not in entry['taken']}
    problems: list[str] = []
    done: set[str] = set()
    for scale in sorted({*scales(entry, args), *before}):
        how = f"MATLAB's bicubic, 1/{scale}", partial(prepare.shrink, scale)
        jobs = [Job(str(lr_of(gt, scale)), *how, gt, folder.path / gt) for gt in gts]
        done |= folder.make(jobs, problems, f'{entry["name"]}: LRx{scale}', args.workers, len(jobs))
    if problems:
        raise UserError(problems)
    return done


def lr_of(gt: str, scale: int) -> PurePosixPath:
    return PurePosixPath(f'LRx{scale}', *PurePosixPath(gt).parts[1:]).with_suffix('.png')
