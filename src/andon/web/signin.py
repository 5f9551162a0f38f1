"""The browser's way in where a key is required: a form for the key, a cookie for the session.

The cookie holds a random token that means nothing outside this process; a restart signs
everybody out.
"""

from urllib.parse import parse_qsl, quote, urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from andon.web.access import COOKIE, SESSION_SECONDS, Access
from andon.web.dashboard.pages import render_login


def router(access: Access) -> APIRouter:
    """`/login`, `/logout`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    async def ask(request: Request) -> Response:
        if not access.required:
            return RedirectResponse(local(request.query_params.get("next", "/")), status_code=303)
        return render_login(request)

    @routes.post("/login")
    async def enter(request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        target = local(sent.get("next", "/"))
        if not access.required:
            return RedirectResponse(target, status_code=303)
        if not access.is_key(sent.get("key", "").strip().encode()):
            # The form came without a query; the page looks for where to go on there.
            again = {**request.scope, "query_string": urlencode({"next": target}).encode()}
            return render_login(Request(again), "This is not the key of this server.")
        answer = RedirectResponse(target, status_code=303)
        answer.set_cookie(
            COOKIE,
            access.sign_in(),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.post("/logout")
    async def leave(request: Request) -> Response:
        access.sign_out(request.headers.get("cookie", "").encode("latin-1"))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return routes


def local(target: str) -> str:
    r"""A path on this server to go on to; anything else is `/`.

    `//host` and `/\host` are other servers to a browser.
    """
    if not target.startswith("/") or target[1:2] in {"/", "\\"} or not target.isprintable():
        return "/"
    return quote(target, safe="/?=&%-._~")
