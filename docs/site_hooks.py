"""For mkdocs: links from the pages to files of the repository, which the site does not have, become their texts."""

import re
from typing import Any

OUTSIDE = re.compile(r'\[([^\]]+)\]\((?:\.\./)+[^)]+\)')


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    depth = page.file.src_uri.count('/')  # `../x.md` of a page in a folder is in the site
    return re.sub(OUTSIDE, lambda link: link[1] if link[0].count('../') > depth else link[0], markdown)
