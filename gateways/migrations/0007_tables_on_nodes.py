import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("gateways", "0006_engine"),
        ("operations", "0003_alter_receiver_kind"),
    ]

    operations = [
        migrations.AlterField(
            model_name="gateway",
            name="key",
            field=models.OneToOneField(
                db_constraint=False,
                editable=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="gateway",
                to="operations.apikey",
                verbose_name="API key",
            ),
        ),
    ]
