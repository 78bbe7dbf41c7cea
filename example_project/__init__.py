"""A site that uses gemini_webhooks, and the demonstration that ``make demo`` runs on it."""
