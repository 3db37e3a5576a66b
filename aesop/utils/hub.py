"""Weights on the Hugging Face Hub: `hf://owner/repository[@revision][/file]` wherever a weights path is accepted."""

import re
from pathlib import Path

from aesop.errors import Unavailable, UserError

PREFIX = 'hf://'
DEFAULT_FILE = 'model.safetensors'
ADDRESS = re.compile(r'hf://(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<filename>.+))?')


def hub_file(address: str) -> Path:
    """The local copy of a file on the Hub, downloaded into the Hub's own cache if needed.

    Offline, or with HF_HUB_OFFLINE=1, only the cache is used.

    Args:
        address: `hf://owner/repository/file`; the file defaults to `model.safetensors`. `@revision` after the
            repository is a branch, tag or commit.

    Raises:
        UserError: the address is malformed.
        Unavailable: the package huggingface_hub is missing, or neither the Hub nor the cache has the file.
    """
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(f'{address} is not a Hub address: expected hf://owner/repository[@revision][/file]')
    try:
        from huggingface_hub import hf_hub_download  # an extra
    except ImportError as error:
        raise Unavailable(f'{address} needs the package huggingface_hub: pip install "aesop-sr[hub]"') from error
    try:
        return Path(hf_hub_download(match['repo_id'], match['filename'] or DEFAULT_FILE, revision=match['revision']))
    except Exception as error:  # no network, no such repository or file, no permission, a full disk
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unavailable(f'{address} could not be downloaded and is not in the cache: {reason}') from error


def upload_folder(folder: str | Path, repository: str, private: bool = False) -> str:
    """Uploads a folder, e.g. one written by `aesop publish`; the repository is created if it does not exist.

    Args:
        repository: `owner/name`.

    Returns:
        The address of the repository.

    Raises:
        Unavailable: huggingface_hub is missing, nobody is logged in (`hf auth login`), or the upload fails.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise Unavailable('uploading needs the package huggingface_hub: pip install "aesop-sr[hub]"') from error
    try:
        hub = HfApi()
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(folder_path=folder, repo_id=repository, commit_message='Upload weights and model card')
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unavailable(f'{folder} could not be uploaded to {repository}: {reason}') from error
    return str(address)
