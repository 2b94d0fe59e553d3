from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("subscriptions", "0005_server_news"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="brand",
            options={"verbose_name": "branding", "verbose_name_plural": "branding"},
        ),
    ]
