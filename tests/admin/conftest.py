from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client


@pytest.fixture(autouse=True)
def files_in_a_new_folder(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.MEDIA_URL = "/media/"


@pytest.fixture
def superuser(db):
    return get_user_model().objects.create_superuser("root")


@pytest.fixture
def viewer(db):
    """May look at everything of this app and do nothing else."""
    user = get_user_model().objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="gemini_webhooks", codename__startswith="view_"
        )
    )
    return user


@pytest.fixture
def browser(superuser):
    return logged_in(superuser)


@pytest.fixture(params=["superuser", "viewer"])
def anyone(request):
    """The browser of a superuser, then that of a user who may only look."""
    return logged_in(request.getfixturevalue(request.param))


def logged_in(user):
    client = Client()
    client.force_login(user)
    return client
