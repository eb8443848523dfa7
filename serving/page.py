"""The web page: one file without outside resources, under a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

PAGE_FILE = Path(__file__).with_name("page.html")


def page_html() -> str:
    """Return the page."""
    return PAGE_FILE.read_text(encoding="utf-8")


def page_headers() -> dict[str, str]:
    """Return headers under which only this page's own script and style run, and it talks to this server alone."""
    html = page_html()
    policy = {
        "default-src": "'none'",
        "script-src": _digests(html, "script"),
        "style-src": _digests(html, "style"),
        "img-src": "data: blob:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _digests(html: str, tag: str) -> str:
    bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
