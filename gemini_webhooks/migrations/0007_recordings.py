from django.db import migrations, models


class Migration(migrations.Migration):
    # Choices are none of the database's business: no table is touched.

    dependencies = [
        ('gemini_webhooks', '0006_operations'),
    ]

    operations = [
        migrations.AlterField(
            model_name='webhookdelivery',
            name='signing',
            field=models.CharField(choices=[('hmac', 'static (HMAC)'), ('jwt', 'dynamic (JWT)'), ('none', 'none: no webhook came')], max_length=10, verbose_name='signing'),
        ),
        migrations.AlterField(
            model_name='webhookdelivery',
            name='source',
            field=models.CharField(choices=[('webhook', 'webhook'), ('reconciler', 'reconciler'), ('recording', 'recording')], default='webhook', max_length=20, verbose_name='source'),
        ),
    ]
