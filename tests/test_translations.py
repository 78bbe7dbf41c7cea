"""The admin in German: what is shipped loads, is whole, and reaches the pages."""

from __future__ import annotations

import ast
import gettext
import re
from collections import Counter
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.template.base import Lexer, TokenType
from django.urls import reverse
from django.utils.translation import trim_whitespace

from gemini_webhooks.models import WebhookEndpoint

APP = Path(apps.get_app_config("gemini_webhooks").path)
CATALOGUES = sorted(APP.glob("locale/*/LC_MESSAGES/django.po"))
TEMPLATES = sorted(APP.glob("templates/**/*.html"))
MODULES = sorted(APP.glob("**/*.py"))

MARKERS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
PLACEHOLDER = re.compile(r"%\(\w+\)[\d.]*[a-z]|%%|\{\w*\}")
TAG = re.compile(r"</?\w+[^>]*>")
LITERAL = re.compile(r"""^(?:translate|trans)\s+(?:"([^"]*)"|'([^']*)')""")
#: Settings, methods and commands: told as they are written, in any language.
NAME = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b|[a-z]\w*(?:\.\w+)+(?:\(\))?")

each_catalogue = pytest.mark.parametrize(
    "po", CATALOGUES, ids=[path.parents[1].name for path in CATALOGUES]
)


def entries_of(po):
    """``{(msgid, msgid_plural): [msgstr, …]}`` of a catalogue's source."""
    entries = {}
    for block in re.split(r"\n\s*\n", po.read_text()):
        fields, current = {}, ""
        for line in block.splitlines():
            if line.startswith("#"):
                assert "fuzzy" not in line, block
                continue
            keyword, quoted = re.fullmatch(r'(\w+(?:\[\d\])?)?\s*(".*")', line).groups()
            current = keyword or current
            fields[current] = fields.get(current, "") + ast.literal_eval(quoted)
        if fields:
            key = (fields.pop("msgid"), fields.pop("msgid_plural", None))
            assert key not in entries, key
            entries[key] = list(fields.values())
    return entries


def compiled(po):
    with po.with_suffix(".mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def flat(entries):
    """Entries as Python's ``gettext`` keeps them, by plural form."""
    return {
        key if plural is None else (key, form): translation
        for (key, plural), translations in entries.items()
        for form, translation in enumerate(translations)
    }


def fixed(text):
    """What a translation may move, but neither lose nor change."""
    return Counter(PLACEHOLDER.findall(text) + TAG.findall(text) + NAME.findall(text))


def literals_in(template):
    """The texts that a template marks; those of its blocks as ``(singular, plural)``."""
    tokens = iter(Lexer(template.read_text()).tokenize())
    for token in tokens:
        if token.token_type != TokenType.BLOCK:
            continue
        if literal := LITERAL.match(token.contents):
            yield literal[1] or literal[2], None
        elif token.contents.startswith("blocktranslate"):
            parts = [""]
            for part in tokens:
                if part.contents == "endblocktranslate":
                    break
                if part.token_type == TokenType.VAR:
                    parts[-1] += f"%({part.contents})s"
                elif part.contents == "plural":
                    parts.append("")
                else:
                    parts[-1] += part.contents
            singular, plural = [trim_whitespace(part) for part in parts] + [None] * (2 - len(parts))
            yield singular, plural


def literals_of(module):
    """The texts that a module marks."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKERS:
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            yield texts[0], texts[1] if node.func.id.startswith("ngettext") else None


def test_a_translation_is_shipped():
    assert APP / "locale/de/LC_MESSAGES/django.po" in CATALOGUES


@each_catalogue
def test_the_compiled_catalogue_holds_what_its_source_says(po):
    catalogue = dict(compiled(po)._catalog)
    source = flat(entries_of(po))
    header = source.pop("")

    assert catalogue.pop("").strip() == header.strip()
    assert catalogue == source


@each_catalogue
def test_every_text_is_translated_with_its_placeholders_tags_and_names(po):
    entries = entries_of(po)
    del entries["", None]
    for (singular, plural), translations in entries.items():
        originals = [singular] if plural is None else [singular, plural]
        assert len(translations) >= len(originals), singular
        for form, translation in enumerate(translations):
            original = originals[min(form, len(originals) - 1)]
            assert translation.strip(), original
            assert fixed(translation) == fixed(original), translation
            ends = (original[-1:].isspace(), translation[-1:].isspace())
            assert ends[0] == ends[1], translation


@each_catalogue
def test_no_text_of_a_template_or_module_is_missing_from_it(po):
    known = set(entries_of(po))
    marked = {text: path.name for path in TEMPLATES for text in literals_in(path)}
    marked |= {text: path.name for path in MODULES for text in literals_of(path)}
    # One entry serves a text with and without a plural.
    singulars = {singular for singular, _plural in known}

    missing = {
        text: name
        for text, name in marked.items()
        if text not in known and not (text[1] is None and text[0] in singulars)
    }
    assert missing == {}
    assert {singular for singular, _plural in marked} | {""} == singulars


@pytest.fixture
def german(settings, client, db):
    """A superuser whose browser asks for German."""
    session = "django.contrib.sessions.middleware.SessionMiddleware"
    after = settings.MIDDLEWARE.index(session) + 1
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[:after],
        "django.middleware.locale.LocaleMiddleware",
        *settings.MIDDLEWARE[after:],
    ]
    client.force_login(get_user_model().objects.create_superuser("root"))

    def page(name, *args, language="de"):
        url = reverse(f"admin:gemini_webhooks_webhookendpoint_{name}", args=args)
        answer = client.get(url, headers={"accept-language": language})
        assert answer.status_code == 200
        return answer.content.decode()

    return page


@pytest.fixture
def endpoint(db):
    return WebhookEndpoint.objects.create(slug="shop", remote_id="w-1", uri="https://site.example")


def test_the_list_is_german(german):
    page = german("changelist")

    assert "Noch keine Endpunkte." in page
    assert "Webhook-Endpunkt hinzufügen" in page
    assert 'value="Mit Google vergleichen"' in page


def test_the_page_of_an_endpoint_is_german(german, endpoint):
    page = german("change", endpoint.pk)

    assert "Es gibt kein gültiges Signaturgeheimnis" in page  # a template
    assert "Akzeptierte Audiences" in page  # a page's column
    assert "Aktiviert" in page.title()  # a state
    assert "Geheimnis rotieren" in page


def test_the_page_that_rotates_is_german(german, endpoint):
    page = german("rotate", endpoint.pk)

    assert "bleibt 24 Stunden gültig" in page  # a form
    assert 'value="Signaturgeheimnis rotieren"' in page


def test_the_page_that_deletes_counts_in_german(german, endpoint):
    assert "Der Endpunkt und seine 0 Signaturgeheimnisse werden gelöscht" in german(
        "delete", endpoint.pk
    )


def test_other_readers_get_english(german, endpoint):
    page = german("rotate", endpoint.pk, language="en")

    assert "stays valid for 24 hours" in page
    assert "rotieren" not in page
