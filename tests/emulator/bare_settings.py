"""A site with the app, without a database, and with an error that a system check finds."""

SECRET_KEY = "tests-only"
INSTALLED_APPS = ["gemini_webhooks"]
GEMINI_WEBHOOKS = {"NO_SUCH_KEY": 1}
