"""Protects the page's requests that change something against requests that other sites let a browser send (CSRF)."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.configuration import conf
from fastapi import HTTPException, Request


def require_same_origin(request: Request) -> None:
    """Refuse a request that does not certainly come from this page.

    Browsers say where a request comes from in ``Sec-Fetch-Site``, which no site can change. Over plain HTTP they only
    send ``Origin``: it must be the host of the request, or of ``[api] base_url`` if a proxy in between rewrites it. A
    program that sends neither has better ways: Airflow's REST API and the commands.

    :raises HTTPException: it comes from elsewhere, or is no JSON.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON.")
    site = request.headers.get("sec-fetch-site")
    if site is None:
        origin = _host(request.headers.get("origin", ""))
        hosts = (request.headers.get("host", ""), _host(conf.get("api", "base_url", fallback="")))
        allowed = origin != "" and origin.lower() in map(str.lower, hosts)
    else:
        allowed = site == "same-origin"
    if not allowed:
        raise HTTPException(403, "This request does not come from the Treasury page.")


def _host(origin: str) -> str:
    """The host and port of an origin; empty if it has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
