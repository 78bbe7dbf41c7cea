"""The table of the rows."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Creates it."""

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="BatchRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("batch_id", models.CharField(max_length=255)),
                ("tenant", models.CharField(blank=True, max_length=100)),
                ("key", models.CharField(max_length=255)),
                ("text", models.TextField(blank=True)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "verbose_name": "batch row",
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(fields=("batch_id", "key"), name="studio_row_once")
                ],
            },
        ),
    ]
