"""Every list and page, with rows as they come and with rows that are out to break a page."""

from __future__ import annotations

import pytest

from tests.admin import rows
from tests.admin.pages import MODELS, list_url, page_url

NAMES = [model._meta.model_name for model in MODELS]


def test_pages_that_hold_nothing_yet(viewer):
    viewer.open("/admin/")
    viewer.look("index")
    for name, model in zip(NAMES, MODELS, strict=True):
        viewer.open(list_url(model))
        viewer.look(f"empty-{name}")


@pytest.mark.parametrize("kind", ["family", "hostile"])
def test_every_page(superuser, operator, kind):
    every = rows.family() if kind == "family" else rows.hostile_family()
    for row in every:
        name = row._meta.model_name
        operator.open(list_url(type(row)))
        operator.look(f"{kind}-list-{name}")
        operator.open(page_url(row))
        operator.look(f"{kind}-{name}")


# The eyes themselves

WRONG = {
    "document.title = ''": "no title",
    "document.documentElement.lang = ''": "language",
    "document.querySelectorAll('h1').forEach((one) => one.remove())": "no heading",
    "content.insertAdjacentHTML('beforeend', '<p id=x><p id=x>')": "more than once",
    "content.firstElementChild.style.width = '2000px'": "Sticks out",
    "content.insertAdjacentHTML('beforeend', '<input>')": "no label",
    "content.insertAdjacentHTML('beforeend', '<button></button>')": "no name",
    "content.querySelector('thead').remove()": "without headers",
    "content.querySelector('.gw-badge').textContent = ''": "badge",
    "content.querySelector('.gw-badge').style.color = '#aaa'": "light: Contrast",
    "content.querySelector('.gw-badge').style.color = '#555'": "dark: Contrast",
}
GOES_WRONG = {
    "document.body.insertAdjacentHTML('beforeend', '<p style=color:red>')": "Security Policy",
    "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))": "script",
    "setTimeout(() => { throw new Error('oh') })": "script: oh",
    "fetch('/nowhere')": "404",
    "document.body.append(Object.assign(new Image(), {src: 'http://other.example/'}))": "elsewhere",
}


def test_what_is_wrong_is_found(operator):
    path = page_url(rows.endpoint())
    operator.open(path)
    operator.look("untouched")
    for script, seen in WRONG.items():
        operator.open(path)
        operator.tamper(f"{{ const content = document.querySelector('#content'); {script} }}")
        found = operator.findings("tampered")
        assert any(seen in line for line in found), (script, found)


@pytest.mark.parametrize(("script", "heard"), GOES_WRONG.items(), ids=GOES_WRONG.values())
def test_what_goes_wrong_is_heard(operator, script, heard):
    operator.open("/admin/")

    operator.tamper(script)
    operator.expects(heard)

    operator.close()
    operator.troubles.clear()
