"""Links of the pages in docs/ to files outside it: on the site they lead into the repository where RRFT_JAX_REPOSITORY
names it (https://.../blob/main), else they become the file's path. A missing file fails."""

import os
import re
from pathlib import Path

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page, **_) -> str:
    base = os.environ.get("RRFT_JAX_REPOSITORY", "").rstrip("/")

    def changed(match: re.Match) -> str:
        target = (ROOT / "docs" / page.file.src_path).parent / match[2]
        path = target.resolve().relative_to(ROOT)
        if not target.exists():
            raise PluginError(f"{page.file.src_path}: {match[2]} does not exist")
        if base:
            return f"[{match[1]}]({base}/{path}{match[3] or ''})"
        name = match[1].strip("`")
        return f"`{path}`" if name.strip("/") in str(path) else f"{match[1]} (`{path}`)"

    return LINK.sub(changed, markdown)
