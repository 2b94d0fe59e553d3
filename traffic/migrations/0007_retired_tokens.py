from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("traffic", "0006_intervals")]

    operations = [
        migrations.CreateModel(
            name="RetiredToken",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
            ],
            options={
                "verbose_name": "retired token",
                "verbose_name_plural": "retired tokens",
                "default_permissions": (),
            },
        ),
    ]
